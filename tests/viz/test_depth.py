import numpy as np
import pytest

from sdvlm.types import DepthKind, DepthMap, SdvlmError
from sdvlm.viz.depth import color_depth, depth_figure, depth_range, ticks
from sdvlm.viz.palette import UNKNOWN, depth_ramp


def brightness(picture):
    return picture.astype(float).sum(axis=-1)


def test_nearer_is_brighter_for_metric_depth_and_larger_is_brighter_for_disparity():
    values = np.linspace(1, 5, 40).reshape(1, -1).repeat(3, axis=0)
    metric = brightness(color_depth(DepthMap(values)))[0]
    disparity = brightness(color_depth(DepthMap(values, DepthKind.DISPARITY)))[0]
    assert metric[0] > metric[20] > metric[-1]
    assert disparity[0] < disparity[20] < disparity[-1]


def test_unknown_pixels_are_hatched_and_known_ones_never_are():
    values = np.full((40, 60), 2.0)
    values[:, 30:] = np.nan
    values[:20, :30] = 3.0
    picture = color_depth(DepthMap(values))
    gray = np.isin(picture.reshape(-1, 3), UNKNOWN).all(axis=1).reshape(40, 60)
    assert gray[:, 30:].all()
    assert not gray[:, :30].any()
    assert len(np.unique(picture[:, 30:].reshape(-1, 3), axis=0)) == 2


def test_a_map_without_any_known_pixel_is_all_hatching_and_has_no_range():
    depth = DepthMap(np.zeros((8, 8)))
    assert np.isin(color_depth(depth).reshape(-1, 3), UNKNOWN).all()
    with pytest.raises(SdvlmError, match="no pixel of this depth map is known"):
        depth_range(depth)


def test_given_ends_fix_the_colours_so_that_two_maps_can_be_compared():
    ramp = depth_ramp()
    picture = color_depth(DepthMap(np.array([[1.0, 2.0, 9.0]])), low=0.0, high=4.0)[0]
    assert picture[0].tolist() == ramp[round(255 / 4)].tolist()
    assert picture[1].tolist() == ramp[round(255 / 2)].tolist()
    assert picture[2].tolist() == ramp[255].tolist()


def test_a_wall_at_one_distance_can_be_drawn():
    low, high = depth_range(DepthMap(np.full((5, 5), 2.0)))
    assert low == pytest.approx(2.0)
    assert high > low
    assert depth_figure(DepthMap(np.full((50, 60), 2.0)), width=120).shape[1] == 120


@pytest.mark.parametrize(("low", "high"), [(0.8, 5.3), (0.0, 0.07), (12.0, 79.5), (1.0, 2.0), (1000.0, 65535.0)])
def test_ticks_are_round_numbers_inside_the_range(low, high):
    values = ticks(low, high)
    assert 3 <= len(values) <= 7
    assert low - 1e-9 <= values[0]
    assert values[-1] <= high + 1e-9
    steps = np.diff(values)
    assert np.allclose(steps, steps[0])
    mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - round_number) for round_number in (1, 2, 5)) < 1e-6


def test_the_figure_shows_the_coloured_map_above_a_scale_that_runs_from_near_to_far():
    values = np.linspace(1, 5, 80 * 60).reshape(60, 80)
    figure = depth_figure(DepthMap(values), width=480)
    assert figure[:360].shape == (360, 480, 3)
    enlarged = color_depth(DepthMap(values), *depth_range(DepthMap(values))).repeat(6, axis=0).repeat(6, axis=1)
    assert np.array_equal(figure[:360], enlarged)
    strip = figure[360:]
    bar = max(strip, key=lambda row: brightness(row).sum())  # the brightest row lies in the bar of colours
    inside = bar[20:-20]
    assert brightness(inside[:20]).mean() > brightness(inside[-20:]).mean()


def test_the_figure_says_how_much_is_unknown_only_where_something_is():
    values = np.full((60, 80), 2.0)
    values[0, 0] = 3.0
    whole = depth_figure(DepthMap(values), width=480)
    values[:30] = np.nan
    holes = depth_figure(DepthMap(values), width=480)
    title_rows = slice(360, 378)
    assert (whole[title_rows, 320:] == whole[360, 479]).all()
    assert not (holes[title_rows, 320:] == holes[360, 479]).all()


def test_sparse_points_are_drawn_as_discs_and_the_share_of_unknown_stays_honest():
    values = np.full((120, 160), np.nan)
    values[30, 40], values[90, 120] = 1.0, 4.0
    figure = depth_figure(DepthMap(values), width=160)
    known = ~np.isin(figure[:120].reshape(-1, 3), UNKNOWN).all(axis=1).reshape(120, 160)
    assert known[29:32, 40].all()
    assert known[30, 39:42].all()
    assert 10 <= known.sum() <= 60
    assert brightness(figure[30, 40]) > brightness(figure[90, 120])
