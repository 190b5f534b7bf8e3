import colorsys

import numpy as np
import pytest

from sdvlm.scenes.palette import COLORS, PLASTIC, color_names, is_plainly, pick_color, shade, srgb_to_linear


def test_every_sample_is_named_by_the_colour_it_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    for name in COLORS:
        samples = [pick_color(rng, PLASTIC, name) for _ in range(30)]
        assert {sample.name for sample in samples} == {name}
        assert color_names(np.array([sample.rgb for sample in samples])) == [name] * 30
        assert len({tuple(sample.rgb) for sample in samples}) > 5


def test_hues_of_the_chromatic_prototypes_are_where_their_words_say() -> None:
    hues = {"red": 0, "orange": 25, "yellow": 50, "green": 127, "blue": 222, "purple": 278}
    for name, degrees in hues.items():
        hue = 360 * colorsys.rgb_to_hsv(*(channel / 255 for channel in COLORS[name]))[0]
        assert abs((hue - degrees + 180) % 360 - 180) < 15


def test_shading_never_changes_the_name() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        color = pick_color(rng, PLASTIC)
        darker = shade(color, 0.75)
        assert darker.name == color.name
        assert is_plainly(darker.rgb, color.name) or np.array_equal(darker.rgb, color.rgb)


@pytest.mark.parametrize(("value", "linear"), [(0, 0.0), (255, 1.0), (188, 0.5029)])
def test_linear_light_matches_known_srgb_values(value: int, linear: float) -> None:
    assert srgb_to_linear(value) == pytest.approx(linear, abs=1e-4)
