"""The ramp is checked against CIELAB, which the code does not use (it works in OKLCh)."""

import numpy as np

from sdvlm.viz.palette import depth_ramp, distinct_color, hatching


def cie_lightness(rgb):
    share = np.asarray(rgb, dtype=float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


def test_the_ramp_darkens_at_every_step_and_evenly():
    lightness = cie_lightness(depth_ramp())
    steps = -np.diff(lightness[::16])
    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.min()
    assert lightness[0] > 85
    assert lightness[-1] < 20


def test_no_colour_of_the_ramp_could_be_taken_for_the_gray_of_unknown():
    spread = np.ptp(depth_ramp().astype(int), axis=1)
    assert spread.min() > 30


def test_dark_text_is_readable_on_every_box_colour():
    # WCAG contrast of the label's ink (20, 20, 23) against its background: at least 4.5 to 1
    def luminance(rgb):
        share = np.asarray(rgb, dtype=float) / 255
        return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    for index in range(40):
        assert (luminance(distinct_color(index)) + 0.05) / (luminance((20, 20, 23)) + 0.05) > 4.5


def test_neighbouring_box_colours_differ_clearly():
    colors = np.array([distinct_color(index) for index in range(12)], dtype=float)
    gaps = np.linalg.norm(colors[:, None] - colors[None], axis=-1)[~np.eye(12, dtype=bool)]
    assert gaps.min() > 25


def test_hatching_has_both_grays_in_equal_parts():
    stripes = hatching(64, 64, period=8)
    assert sorted(np.unique(stripes[..., 0]).tolist()) == [164, 196]
    assert abs((stripes[..., 0] == 164).mean() - 0.5) < 0.01
