import math

import numpy as np
import pytest

from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.viewpoints import look_at, sample_cameras


def test_pose_looks_where_it_says_with_the_horizon_level() -> None:
    pose = look_at(math.radians(90), math.radians(30), np.array([1.0, 2.0, 1.5]))
    assert pose[:3, 2] == pytest.approx([0.0, math.cos(math.radians(30)), -0.5])
    assert pose[:3, 0] == pytest.approx([1.0, 0.0, 0.0], abs=1e-12)  # right of a viewer heading +y is +x
    assert pose[2, 1] < 0  # the image's down points down
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert pose[:3, 3] == pytest.approx([1.0, 2.0, 1.5])


def test_cameras_stand_in_free_space_within_the_promised_ranges(rooms: list[Room]) -> None:
    for seed, room in enumerate(rooms[:12]):
        for camera, pose in sample_cameras(room, np.random.default_rng(seed), 2, (160, 120)):
            assert camera.size == (160, 120)
            assert 40 <= camera.fov_x_deg <= 95
            x, y, z = pose[:3, 3]
            assert abs(x) < room.size[0] / 2
            assert abs(y) < room.size[1] / 2
            assert 0.8 <= z <= 1.8
            assert -1e-9 <= -math.degrees(math.asin(pose[2, 2])) <= 30 + 1e-9
            for item in room.objects:
                local = item.box.rotation.T @ (pose[:3, 3] - item.box.center)
                assert (np.abs(local) > item.box.size / 2).any()


def test_views_show_several_things(rooms: list[Room]) -> None:
    seen = []
    for seed, room in enumerate(rooms[:15]):
        renderer = Renderer(room.mesh)
        for camera, pose in sample_cameras(room, np.random.default_rng(seed), 2, (96, 72), renderer=renderer):
            _, instances = renderer.trace(camera, pose)
            seen.append(np.count_nonzero(np.bincount(instances.ravel())[1:] > 20))
    assert np.mean(seen) >= 4
    assert min(seen) >= 1


def test_the_same_generator_state_gives_the_same_views(rooms: list[Room]) -> None:
    first, again = (sample_cameras(rooms[0], np.random.default_rng(9), 2) for _ in range(2))
    for (camera_a, pose_a), (camera_b, pose_b) in zip(first, again, strict=True):
        assert camera_a == camera_b
        assert np.array_equal(pose_a, pose_b)
