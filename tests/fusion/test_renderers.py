"""Depth as a picture: what each colour means can be read back, unknown is told from known, kinds are kept apart."""

import colorsys

import numpy as np
import pytest

from sdvlm.fusion.renderers import INVERSE_MIN_M, PACK24_MAX_M, RENDERERS, render_depth, renderer_kinds, unpack24
from sdvlm.types import DepthKind, DepthMap, SdvlmError

NAMES = tuple(RENDERERS)


def _map(values, kind=DepthKind.METRIC):
    return DepthMap(np.atleast_2d(np.asarray(values, dtype=np.float64)), kind)


def _some(kind=DepthKind.METRIC, unknown=True):
    rng = np.random.default_rng(0)
    values = np.exp(rng.uniform(np.log(0.01), np.log(500), (24, 31)))
    if unknown:
        values[rng.random(values.shape) < 0.2] = np.nan
    return DepthMap(values, kind)


def test_pack24_holds_each_of_the_65536_millimetre_values_and_gives_it_back():
    millimetres = np.arange(65536).reshape(256, 256)
    packed = render_depth(_map(millimetres / 1000), "pack24").astype(int)
    # SpatialBot (arXiv 2406.13642), fusion-methods 2.2: d = 1024 (R / 4) + 32 (G / 8) + B / 8
    assert np.array_equal(1024 * (packed[..., 0] // 4) + 32 * (packed[..., 1] // 8) + packed[..., 2] // 8, millimetres)
    back = unpack24(packed.astype(np.uint8))
    assert back.kind is DepthKind.METRIC
    assert np.array_equal(np.isnan(back.values), millimetres == 0)
    assert np.array_equal(np.round(1000 * np.nan_to_num(back.values).astype(float)), millimetres)


def test_pack24_clips_to_what_it_can_hold_and_never_to_unknown():
    back = unpack24(render_depth(_map([1e-5, 0.0004, 65.5354, 70.0, 1e9]), "pack24")).values[0]
    assert back.tolist() == pytest.approx([0.001, 0.001, PACK24_MAX_M, PACK24_MAX_M, PACK24_MAX_M])


def test_a_resized_code_is_refused_because_its_depths_are_made_up():
    step = render_depth(_map(np.repeat([[1.0, 1.024, 3.0]], 4, axis=0)), "pack24")
    between = ((step[:, :-1].astype(int) + step[:, 1:]) // 2).astype(np.uint8)
    with pytest.raises(SdvlmError, match="resized"):
        unpack24(between)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in NAMES for kind in sorted(renderer_kinds(name))])
def test_black_is_unknown_and_nothing_else(name, kind):
    depth = _some(kind)
    picture = render_depth(depth, name)
    assert picture.shape == (24, 31, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal((picture == 0).all(axis=-1), ~depth.valid)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_without_a_known_pixel_is_black(name):
    for kind in renderer_kinds(name):
        assert not render_depth(_map(np.full((3, 4), np.nan), kind), name).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_colour_means_a_distance_whatever_else_is_in_the_map(name):
    near, far = _map([[2.0, 0.6]]), _map([[2.0, 40.0]])
    assert np.array_equal(render_depth(near, name)[0, 0], render_depth(far, name)[0, 0])


@pytest.mark.parametrize("name", NAMES)
def test_each_pixel_is_rendered_on_its_own(name):
    depth = _some()
    whole = render_depth(depth, name)
    for row, column in ((0, 0), (7, 19), (23, 30)):
        assert np.array_equal(render_depth(_map(depth.values[row, column]), name)[0, 0], whole[row, column])


def test_log_gray_can_be_read_back_to_a_percent_and_a_half_from_10_cm_to_100_m():
    metres = np.geomspace(0.1, 100.0, 1000)
    level = render_depth(_map(metres), "log_gray")[0].astype(float)
    assert np.array_equal(level[:, 0], level[:, 1])
    assert np.array_equal(level[:, 0], level[:, 2])
    read = 0.1 * 1000 ** ((255 - level[:, 0]) / 254)
    assert np.abs(read / metres - 1).max() < 0.015


def test_inverse_gray_can_be_read_back_with_steps_of_a_fifth_of_a_metre_at_5_m():
    metres = np.linspace(INVERSE_MIN_M, 5.0, 1000)
    level = render_depth(_map(metres), "inverse_gray")[0, :, 0].astype(float)
    read = INVERSE_MIN_M * 254 / (level - 1)
    assert np.abs(1 / read - 1 / metres).max() <= 1 / (INVERSE_MIN_M * 254) / 2 + 1e-9
    assert np.abs(read - metres).max() < 0.11


@pytest.mark.parametrize("name", ["log_gray", "inverse_gray"])
def test_gray_gets_no_brighter_with_distance(name):
    level = render_depth(_map(np.geomspace(0.05, 300, 2000)), name)[0, :, 0].astype(int)
    assert (np.diff(level) <= 0).all()
    assert level[0] == 255
    assert level[-1] in (1, 2)


def test_turbo_is_the_published_colour_map_from_red_near_to_blue_far():
    colormaps = pytest.importorskip("matplotlib").colormaps
    metres = np.geomspace(100.0, 0.1, 256)
    ours = render_depth(_map(metres), "turbo")[0].astype(float)
    theirs = 255 * colormaps["turbo"](np.linspace(0, 1, 256))[:, :3]
    assert np.abs(ours - theirs).max() < 8


def test_turbo_keeps_depths_apart_that_differ_by_three_percent():
    colours = render_depth(_map(np.geomspace(0.1, 100, 234)), "turbo")[0].astype(int)
    assert (np.abs(np.diff(colours, axis=0)).max(axis=1) > 0).all()


@pytest.mark.parametrize("name", ["inverse_gray", "turbo"])
def test_all_kinds_made_of_the_same_metres_agree_on_which_is_nearer(name):
    """fusion-methods T7."""
    metres = np.array([0.7, 1.0, 1.6, 2.5, 4.0])

    def warmth(picture):
        return [colorsys.rgb_to_hsv(*rgb)[0] if name == "turbo" else -float(rgb[0]) for rgb in picture[0] / 255]

    kinds = [_map(metres), _map(3 / metres + 0.4, DepthKind.DISPARITY), _map(5 * metres - 1, DepthKind.RELATIVE)]
    for other in kinds if name == "turbo" else kinds[:2]:
        assert np.array_equal(np.argsort(warmth(render_depth(other, name)), kind="stable"), np.arange(5)), other.kind


def test_relative_depth_is_rendered_alike_whatever_its_scale_and_shift():
    depth = _some(DepthKind.RELATIVE)
    moved = DepthMap(7 * depth.values.astype(float) - 3, DepthKind.RELATIVE)
    one, other = (render_depth(d, "turbo").astype(int) for d in (depth, moved))
    assert np.abs(one - other).max() <= 6  # a level, by rounding


def test_one_wild_pixel_does_not_change_a_relative_picture():
    values = np.random.default_rng(1).uniform(1, 2, (40, 40))
    wild = values.copy()
    wild[3, 3] = 1e6
    one, other = (render_depth(DepthMap(v, DepthKind.DISPARITY), "inverse_gray").astype(int) for v in (values, wild))
    assert np.abs(np.delete(one - other, 3, axis=0)).max() <= 1


def test_a_flat_relative_map_is_one_colour():
    for kind in (DepthKind.RELATIVE, DepthKind.DISPARITY):
        picture = render_depth(_map(np.full((3, 3), 4.0), kind), "turbo")
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 1
        assert picture.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_that_the_renderer_has_no_meaning_for_is_refused(name):
    for kind in set(DepthKind) - renderer_kinds(name):
        with pytest.raises(SdvlmError, match=f"'{name}' needs .* depth, got {kind}"):
            render_depth(_map([[1.0, 2.0]], kind), name)


def test_an_unknown_renderer_is_refused_with_those_there_are():
    for call in (lambda: renderer_kinds("jet"), lambda: render_depth(_map([[1.0]]), "jet")):
        with pytest.raises(SdvlmError, match="no depth renderer 'jet'; choose one of pack24, log_gray"):
            call()
