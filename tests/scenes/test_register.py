import numpy as np
import pytest

from sdvlm.scenes.register import register_depth, register_moved_depth
from sdvlm.types import Camera, SdvlmError


def test_each_pixel_takes_the_depth_pixel_its_ray_falls_in() -> None:
    depth_camera = Camera(13, 9, 10.0, 11.0, 6.1, 4.7)
    camera = Camera(20, 15, 17.0, 16.0, 9.6, 7.9)
    depth = np.random.default_rng(0).uniform(1, 5, (9, 13)).astype(np.float32)
    depth[4, 6] = np.nan
    registered = register_depth(depth, depth_camera, camera)
    for row in range(15):
        for column in range(20):
            u = (column + 0.5 - 9.6) / 17.0 * 10.0 + 6.1
            v = (row + 0.5 - 7.9) / 16.0 * 11.0 + 4.7
            inside = 0 <= u < 13 and 0 <= v < 9
            expected = depth[int(v), int(u)] if inside else np.nan
            assert registered[row, column] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(registered).any()


def test_values_are_taken_never_mixed_across_an_edge() -> None:
    depth = np.full((10, 10), 1.0, dtype=np.float32)
    depth[:, 5:] = 4.0
    wide = register_depth(depth, Camera.from_fov(10, 10, 60.0), Camera.from_fov(33, 33, 60.0))
    assert set(np.unique(wide)) == {1.0, 4.0}


def test_the_same_camera_leaves_depth_as_it_is_and_a_wrong_size_is_refused() -> None:
    camera = Camera.from_fov(4, 3, 60.0)
    depth = np.ones((3, 4), dtype=np.float32)
    assert np.array_equal(register_depth(depth, camera, camera), depth)
    with pytest.raises(SdvlmError, match="5x3"):
        register_depth(np.ones((3, 5), dtype=np.float32), camera, camera)


def test_without_a_move_the_same_pixels_are_filled_with_the_same_depth() -> None:
    depth_camera, camera = Camera(32, 24, 29.0, 29.5, 16.3, 11.9), Camera(80, 60, 73.0, 73.0, 40.2, 30.1)
    depth = np.full((24, 32), 2.0, dtype=np.float32)
    depth[5:9, 7:20] = np.nan
    still = register_depth(depth, depth_camera, camera)
    moved = register_moved_depth(depth, depth_camera, camera, np.eye(4))
    both = np.isfinite(still) & np.isfinite(moved)
    assert np.array_equal(still[both], moved[both])
    assert np.count_nonzero(np.isfinite(still) != np.isfinite(moved)) < 0.02 * still.size  # footprints overlap a little


def test_a_moved_camera_sees_points_where_they_project_and_the_nearest_of_them() -> None:
    depth_camera = camera = Camera(40, 30, 35.0, 35.0, 20.0, 15.0)
    depth = np.full((30, 40), 4.0, dtype=np.float32)
    depth[:, 20:26] = 1.0  # a post before a wall
    T = np.eye(4)
    T[:3, 3] = [0.2, 0.0, 0.1]
    moved = register_moved_depth(depth, depth_camera, camera, T)
    expected = np.full((30, 40), np.nan)
    for row in range(30):
        for column in range(40):
            z = float(depth[row, column])
            x, y = (column + 0.5 - 20) / 35 * z + 0.2, (row + 0.5 - 15) / 35 * z
            u, v = int(np.floor(35 * x / (z + 0.1) + 20)), int(np.floor(35 * y / (z + 0.1) + 15))
            if 0 <= u < 40 and 0 <= v < 30:
                expected[v, u] = np.fmin(expected[v, u], z + 0.1)
    known = np.isfinite(expected)
    assert known.mean() > 0.7
    near_edge = np.abs(np.diff(np.nan_to_num(expected), axis=1, append=0)) > 0.5
    near_edge |= np.roll(near_edge, 1, axis=1)
    assert np.array_equal(moved[known & ~near_edge], expected[known & ~near_edge].astype(np.float32))
    assert np.isnan(moved[:, :2]).all()  # beyond what the depth camera saw
    assert (moved[10, 26:31] == np.float32(1.1)).all()  # the post, shifted by 0.2 m at 1.1 m
