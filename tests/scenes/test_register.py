import numpy as np
import pytest

from sdvlm.scenes.register import register_depth
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
