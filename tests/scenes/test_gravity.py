import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.scenes.gravity import LEVEL_UP_CAM, level_pose, turn_up, vertical_axis_last
from sdvlm.types import Box3D, SdvlmError

directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.05)


def test_a_level_camera_looks_along_y_with_its_picture_upright() -> None:
    expected = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    assert np.allclose(level_pose(LEVEL_UP_CAM), expected)


@settings(deadline=None)
@given(directions)
def test_up_becomes_z_and_the_view_keeps_no_sideways_part(up: tuple[float, float, float]) -> None:
    unit = np.array(up) / np.linalg.norm(up)
    R = level_pose(up)[:3, :3]
    assert np.allclose(R @ R.T, np.eye(3))
    assert np.linalg.det(R) > 0
    assert np.allclose(R @ unit, [0, 0, 1])
    assert abs(R[0, 2]) < 1e-2
    assert R[1, 2] > -1e-5  # straight up or down, to rounding, it may lean either way
    world = turn_up(up)[:3, :3]
    assert np.allclose(world @ world.T, np.eye(3))
    assert np.linalg.det(world) > 0
    assert np.allclose(world @ unit, [0, 0, 1], atol=1e-5)


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 0, -1)])
def test_looking_straight_up_or_down_still_gives_a_pose(up: tuple[int, int, int]) -> None:
    R = level_pose(up)[:3, :3]
    assert np.allclose(R @ up, [0, 0, 1])
    assert np.isclose(np.linalg.det(R), 1)
    assert np.allclose(turn_up(up)[:3, :3] @ up, [0, 0, 1])


def test_a_world_that_is_z_up_is_left_alone() -> None:
    assert np.allclose(turn_up((0, 0, 2.0)), np.eye(4))


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_renaming_the_axes_keeps_the_solid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    box = Box3D(rng.normal(size=3), rng.uniform(0.1, 2, 3), Q * np.sign(np.linalg.det(Q)))
    renamed = vertical_axis_last(box)
    assert renamed.rotation[2, 2] == pytest.approx(np.abs(box.rotation[2]).max())
    ours, theirs = (np.array(sorted(np.round(one.corners(), 6).tolist())) for one in (renamed, box))
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("up", [(0, 0, 0), (np.nan, 0, 1), (1, 2)])
def test_what_is_no_direction_is_refused(up: tuple[float, ...]) -> None:
    with pytest.raises(SdvlmError, match="direction"):
        level_pose(up)
    with pytest.raises(SdvlmError, match="direction"):
        turn_up(up)
