"""The values that cross public boundaries check themselves; each rule is tried with an input that breaks it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.types import Box3D, Camera, DepthKind, DepthMap, RgbdFrame, SdvlmError


def _image(width=4, height=3):
    return np.zeros((height, width, 3), np.uint8)


def test_metric_depth_that_cannot_be_metres_becomes_unknown():
    depth = DepthMap(np.array([[0.0, -1.0, np.inf], [np.nan, 2.0, 1e-3]]))
    assert np.array_equal(depth.valid, [[False, False, False], [False, True, True]])
    assert np.array_equal(depth.values[depth.valid], np.float32([2.0, 1e-3]))


@pytest.mark.parametrize("kind", ["relative", "disparity"])
def test_relative_depth_and_disparity_may_be_zero_or_negative(kind):
    depth = DepthMap(np.array([[0.0, -1.0, -np.inf]]), kind)
    assert depth.kind is DepthKind(kind)
    assert depth.valid.tolist() == [[True, True, False]]


def test_a_depth_map_keeps_its_own_copy_and_cannot_be_written():
    values = np.ones((2, 2), np.float32)
    depth = DepthMap(values)
    values[0, 0] = 7.0
    assert depth.values[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        depth.values[0, 0] = 3.0


def test_depth_size_is_width_then_height():
    assert DepthMap(np.ones((3, 5))).size == (5, 3)


@pytest.mark.parametrize("values", [np.ones(3), np.ones((1, 2, 3)), np.ones((0, 4)), [["far", "near"]]])
def test_what_is_not_a_2d_array_of_numbers_is_refused_as_depth(values):
    with pytest.raises(SdvlmError, match="depth must be a non-empty 2D array"):
        DepthMap(values)


def test_an_unknown_depth_kind_is_refused_with_the_choices():
    with pytest.raises(SdvlmError, match="metric, relative, disparity"):
        DepthMap(np.ones((2, 2)), "millimetres")


def test_scaling_depth_multiplies_known_values_and_keeps_the_holes_and_the_kind():
    depth = DepthMap(np.array([[1.5, np.nan]]), "relative", source="me").scaled(2.0)
    assert depth.values[0, 0] == 3.0
    assert math.isnan(depth.values[0, 1])
    assert (depth.kind, depth.source) == (DepthKind.RELATIVE, "me")


@pytest.mark.parametrize("factor", [0.0, -1.0, math.inf, math.nan])
def test_depth_cannot_be_scaled_by_what_is_not_a_positive_number(factor):
    with pytest.raises(SdvlmError, match="positive number"):
        DepthMap(np.ones((1, 1))).scaled(factor)


@given(st.floats(5, 175), st.integers(1, 4000), st.integers(1, 4000))
@settings(max_examples=50, deadline=None)
def test_a_camera_made_from_a_field_of_view_has_that_field_of_view(fov, width, height):
    camera = Camera.from_fov(width, height, fov)
    assert camera.fov_x_deg == pytest.approx(fov)
    left_edge = -camera.cx / camera.fx  # tangent of the angle to the left border
    assert 2 * math.degrees(math.atan(-left_edge)) == pytest.approx(fov)


def test_an_opencv_calibration_moves_by_half_a_pixel():
    # OpenCV: the centre of the first pixel is (0, 0). A camera looking straight through it has cx = cy = 0.
    camera = Camera.from_opencv(10, 10, 5.0, 5.0, 0.0, 0.0)
    assert (camera.cx, camera.cy) == (0.5, 0.5)  # the centre of our first pixel


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": 0.0}, "focal"),
        ({"fy": -1.0}, "focal"),
        ({"width": 0}, "positive image size"),
        ({"cx": math.nan}, "cx must be a finite"),
        ({"fy": math.inf}, "fy must be a finite"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(change, message):
    with pytest.raises(SdvlmError, match=message):
        Camera(**({"width": 4, "height": 3, "fx": 5, "fy": 5, "cx": 2, "cy": 1.5} | change))


@pytest.mark.parametrize("fov", [0, 180, -5])
def test_a_field_of_view_outside_0_to_180_degrees_is_refused(fov):
    with pytest.raises(SdvlmError, match="field of view"):
        Camera.from_fov(4, 4, fov)


def test_box_corners_follow_the_bits_of_their_index():
    box = Box3D.from_yaw([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], math.pi / 2)  # first axis along +y, second along -x
    for index, corner in enumerate(box.corners()):
        first, second, third = (1 if index & bit else -1 for bit in (4, 2, 1))
        assert corner == pytest.approx([1.0 - second * 2.0, 2.0 + first * 1.0, 3.0 + third * 3.0])


@given(st.floats(-3.1, 3.1))
@settings(max_examples=30, deadline=None)
def test_a_yaw_comes_back_from_the_rotation(yaw):
    assert Box3D.from_yaw([0, 0, 0], [1, 1, 1], yaw).yaw_rad == pytest.approx(yaw, abs=1e-9)


def test_moving_a_box_moves_its_corners():
    T = np.eye(4)
    T[:3, :3] = Box3D.from_yaw([0, 0, 0], [1, 1, 1], 0.7).rotation
    T[:3, 3] = [1.0, -2.0, 0.5]
    box = Box3D.from_yaw([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], 0.3)
    expected = [T[:3, :3] @ corner + T[:3, 3] for corner in box.corners()]
    assert box.transformed(T).corners() == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("size", [1, -1, 1], "must not be negative"),
        ("center", [0, np.nan, 0], "center must be finite"),
        ("center", [0, 0], "center must be finite and of shape"),
        ("rotation", np.diag([1, 1, -1]), "proper rotation"),
        ("rotation", 2 * np.eye(3), "proper rotation"),
    ],
)
def test_a_box_that_cannot_be_is_refused(part, value, message):
    with pytest.raises(SdvlmError, match=message):
        Box3D(**({"center": [0, 0, 0], "size": [1, 1, 1]} | {part: value}))


def test_a_frame_names_both_sizes_when_its_depth_does_not_fit():
    with pytest.raises(SdvlmError, match=r"lab: depth is for 4x4 pixels but the image is 4x3"):
        RgbdFrame(_image(4, 3), DepthMap(np.ones((4, 4))), name="lab")


def test_a_frame_names_both_sizes_when_its_camera_does_not_fit():
    with pytest.raises(SdvlmError, match=r"camera is for 8x6 pixels but the image is 4x3"):
        RgbdFrame(_image(4, 3), camera=Camera.from_fov(8, 6, 60))


@pytest.mark.parametrize(
    "image",
    [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), np.zeros((3, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_a_frame_takes_only_8_bit_rgb_pictures(image):
    with pytest.raises(SdvlmError, match="uint8"):
        RgbdFrame(image)


def test_a_frame_refuses_a_pose_that_is_not_4x4():
    with pytest.raises(SdvlmError, match=r"pose .*\(3, 4\)"):
        RgbdFrame(_image(), T_world_cam=np.eye(4)[:3])


def test_every_error_of_ours_is_one_line():
    with pytest.raises(SdvlmError) as caught:
        Box3D([0, 0, 0], [1, 1, 1], np.ones((3, 3)))
    assert "\n" not in str(caught.value)
