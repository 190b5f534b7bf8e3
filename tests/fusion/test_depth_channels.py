"""Planes of depth maps: their formulas, what unknown pixels become, and what settings are refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.fusion.depth_channels import CHANNEL_COORDINATES, EXTRA_CHANNELS, DepthChannels
from sdvlm.geometry.project import camera_rays
from sdvlm.geometry.transform import crop, pad, resize
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

CAMERA = Camera.from_fov(32, 24, 60)
ALL = DepthChannels(extras=EXTRA_CHANNELS)


def some_depth(seed=0, low=0.3, high=12.0):
    values = np.random.default_rng(seed).uniform(low, high, (24, 32)).astype(np.float32)
    values[3:6, 10:20] = np.nan
    return DepthMap(values)


def test_log_planes_are_the_logarithm_of_metres_on_the_span():
    depth = DepthMap(np.array([[0.05, 0.1, 1.0], [10.0, 100.0, 400.0]]))
    plane = DepthChannels(span=(-1, 3)).planes(depth)[0]
    wanted = [[-1 + 4 * math.log(z / 0.1) / math.log(1000) for z in row] for row in [[0.1, 0.1, 1], [10, 100, 100]]]
    np.testing.assert_allclose(plane, wanted, atol=1e-6)


def test_scaling_depth_shifts_the_log_plane_and_leaves_the_per_image_plane():
    depth = some_depth()
    known = depth.valid
    log, own = DepthChannels(), DepthChannels("per_image")
    shift = (log.planes(depth.scaled(2))[0] - log.planes(depth)[0])[known]
    np.testing.assert_allclose(shift, 4 * math.log(2) / math.log(1000), atol=1e-5)
    np.testing.assert_allclose(own.planes(depth.scaled(2)), own.planes(depth), atol=1e-5)


def test_inverse_planes_and_disparity_are_a_quarter_metre_over_depth():
    depth = DepthMap(np.array([[0.1, 0.25, 0.5, 5.0]]))
    planes = DepthChannels("inverse", ("disparity",), span=(0, 1)).planes(depth)
    np.testing.assert_allclose(planes, [[[1, 1, 0.5, 0.05]]] * 2, atol=1e-6)


def test_per_image_planes_put_the_percentiles_at_the_ends_and_far_on_top_for_every_kind():
    values = np.arange(1.0, 102.0).reshape(1, -1)
    far = DepthChannels("per_image", span=(0, 1))
    plane = far.planes(DepthMap(values))[0, 0]
    assert (plane[:3] == 0).all()
    assert (plane[-3:] == 1).all()
    assert plane[50] == pytest.approx(0.5)
    assert (np.diff(plane) >= 0).all()
    np.testing.assert_allclose(far.planes(DepthMap(values, kind="relative"))[0, 0], plane)
    np.testing.assert_allclose(far.planes(DepthMap(-values, kind="disparity"))[0, 0], plane)


def test_a_flat_map_is_in_the_middle_of_its_own_range():
    planes = DepthChannels("per_image", span=(0, 1)).planes(DepthMap(np.full((2, 3), 7.0)))
    assert (planes[0] == 0.5).all()


def test_height_is_metres_over_the_camera():
    depth = some_depth()
    plane = DepthChannels(extras=("height",), span=(-1, 1)).planes(depth, CAMERA)[1]
    for row, column in [(0, 0), (12, 5), (23, 31)]:
        over = -(row + 0.5 - CAMERA.cy) / CAMERA.fy * depth.values[row, column]
        assert plane[row, column] == pytest.approx(math.asinh(over / 0.1) / math.asinh(1000), abs=1e-5)


def test_the_normal_plane_tells_floor_wall_and_ceiling():
    down = camera_rays(CAMERA)[..., 1]
    room = np.where(np.abs(down) > 0.2, 1.0 / np.maximum(np.abs(down), 1e-6), 5.0)  # 1 m below and above, wall at 5 m
    plane = DepthChannels(extras=("normal",), span=(0, 1)).planes(DepthMap(room), CAMERA)[1]
    np.testing.assert_allclose(plane[-1], 1.0, atol=1e-4)
    np.testing.assert_allclose(plane[0], 0.0, atol=1e-4)
    np.testing.assert_allclose(plane[11:13], 0.5, atol=1e-4)


@given(st.integers(0, 2**31), st.sampled_from(sorted(CHANNEL_COORDINATES)), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_unknown_pixels_are_zero_in_every_plane_and_nothing_is_ever_nan(seed, coordinate, missing):
    rng = np.random.default_rng(seed)
    values = np.exp(rng.uniform(-9, 9, (24, 32)))
    values[rng.random(values.shape) < missing] = rng.choice([np.nan, 0.0, -1.0, np.inf])
    depth = DepthMap(values)
    planes = DepthChannels(coordinate, EXTRA_CHANNELS).planes(depth, CAMERA)
    assert planes.dtype == np.float32
    assert np.isfinite(planes).all()
    assert (planes[:, ~depth.valid] == 0).all()
    assert np.abs(planes).max() <= 2 + 1e-6
    np.testing.assert_array_equal(planes[1], depth.valid)


def test_a_known_depth_in_the_middle_of_the_span_differs_from_an_unknown_one():
    middle = math.sqrt(0.1 * 100)
    planes = DepthChannels().planes(DepthMap(np.array([[middle, np.nan]])))
    np.testing.assert_allclose(planes, [[[0, 0]], [[1, 0]]], atol=1e-6)


def test_no_depth_at_all_is_unknown_everywhere():
    assert ALL.planes(None, size=(5, 4)).shape == (5, 4, 5)
    assert not ALL.planes(None, CAMERA, size=(32, 24)).any()
    assert not ALL.planes(DepthMap(np.full((24, 32), np.nan)), CAMERA).any()


def test_without_a_camera_only_height_and_normal_are_unknown():
    depth = some_depth()
    seen, blind = ALL.planes(depth, CAMERA), ALL.planes(depth)
    np.testing.assert_array_equal(seen[:3], blind[:3])
    assert not blind[3:].any()
    assert seen[3:].any(axis=(1, 2)).all()


def test_planes_go_where_the_picture_goes_and_padding_is_unknown():
    depth = some_depth()
    steps = pad((32, 24), 0, 4, 0, 4).then(resize((32, 32), (48, 48))).then(crop((48, 48), (4, 0, 44, 48)))
    planes = ALL.processed(steps, depth, CAMERA)
    assert planes.shape == (5, 48, 40)
    np.testing.assert_array_equal(planes[:2], DepthChannels().planes(steps.depth(depth)))  # pixel by pixel: commutes
    assert not planes[:, :6].any()
    assert not planes[:, -6:].any()


def test_a_crop_keeps_the_range_of_the_whole_picture():
    values = np.linspace(1, 9, 64).reshape(8, 8)
    steps = crop((8, 8), (0, 0, 8, 4))
    whole = DepthChannels("per_image").planes(DepthMap(values))
    np.testing.assert_array_equal(DepthChannels("per_image").processed(steps, DepthMap(values)), whole[:, :4])


def test_settings_survive_a_file():
    channels = DepthChannels("inverse", ("valid", "height"), (-1.5, 2.5))
    again = DepthChannels.from_dict(json.loads(json.dumps(channels.to_dict())))
    assert again == channels
    assert hash(again) == hash(channels)
    assert again.names == ("inverse", "valid", "height")
    assert again.count == 3


@pytest.mark.parametrize(
    ("channels", "kinds"),
    [
        (DepthChannels("log_metric"), {"metric"}),
        (DepthChannels("inverse"), {"metric"}),
        (DepthChannels("per_image"), set(DepthKind)),
        (DepthChannels("per_image", ()), set(DepthKind)),
        (DepthChannels("per_image", ("height",)), {"metric"}),
    ],
)
def test_planes_take_the_kinds_they_say_and_refuse_the_others(channels, kinds):
    assert channels.kinds == kinds
    for kind in DepthKind:
        depth = DepthMap(np.ones((24, 32)), kind=kind)
        if kind in kinds:
            assert channels.planes(depth).shape == (channels.count, 24, 32)
        else:
            with pytest.raises(SdvlmError, match=f"need metric depth, got {kind}"):
                channels.planes(depth)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coordinate": "metres"}, "no depth coordinate 'metres'"),
        ({"extras": ["valid", "sky"]}, "extra planes must be"),
        ({"extras": ["valid", "valid"]}, "extra planes must be"),
        ({"span": [1, 1]}, "a span goes from"),
        ({"span": [0, float("inf")]}, "a span goes from"),
        ({"colour": 1}, "no setting colour"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SdvlmError, match=message):
        DepthChannels.from_dict(settings)


def test_sizes_must_agree():
    with pytest.raises(SdvlmError, match="need a depth map or a size"):
        ALL.planes(None)
    with pytest.raises(SdvlmError, match="all of one"):
        ALL.planes(some_depth(), Camera.from_fov(24, 32, 60))
    with pytest.raises(SdvlmError, match="all of one"):
        ALL.planes(some_depth(), size=(31, 24))
