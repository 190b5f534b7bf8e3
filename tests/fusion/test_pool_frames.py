"""Depth of a box in several frames, against one picture that shows the frames side by side."""

import numpy as np
import pytest
import torch

from sdvlm.fusion.pool import pool_depth
from sdvlm.fusion.pool_frames import joined_frames
from sdvlm.types import Camera, DepthMap

SIZE = (12, 8)
BOXES = np.array([[0.0, 0.0, 5.5, 8.0], [2.0, 0.0, 9.25, 8.0], [np.nan] * 4])
CAMERA = Camera.from_fov(*SIZE, 70.0)


def frame(seed, unknown=0.3):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 6.0, SIZE[::-1])
    values[rng.random(values.shape) < unknown] = np.nan
    return values


@pytest.mark.parametrize("count", [1, 2, 3])
def test_frames_joined_are_pooled_as_one_picture_of_all_of_them_below_each_other(count):
    values = [frame(seed) for seed in range(count)]
    joined = joined_frames([pool_depth(DepthMap(one), BOXES, SIZE, CAMERA) for one in values])
    below = Camera(SIZE[0], count * SIZE[1], CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy)
    tall = BOXES * [1, 1, 1, count]
    wanted = pool_depth(DepthMap(np.concatenate(values)), tall, below.size, below)
    for name in ("z", "z_std", "z_min", "z_max", "valid", "x", "ray_x", "u", "kind"):
        found, expected = getattr(joined, name), getattr(wanted, name)
        torch.testing.assert_close(found, expected, equal_nan=True, atol=1e-5, rtol=1e-5)


def test_a_frame_without_depth_lowers_the_known_share_and_nothing_else():
    seen, blind = pool_depth(DepthMap(frame(0)), BOXES, SIZE, CAMERA), pool_depth(None, BOXES, SIZE, CAMERA)
    for order in ([seen, blind], [blind, seen]):
        joined = joined_frames(order)
        torch.testing.assert_close(joined.valid, seen.valid / 2)
        for name in ("z", "z_std", "z_min", "z_max", "x", "y", "ray_x", "u", "v", "kind"):
            torch.testing.assert_close(getattr(joined, name), getattr(seen, name), equal_nan=True)


def test_a_point_is_unknown_where_a_frame_with_depth_has_no_camera():
    seen, without = pool_depth(DepthMap(frame(0)), BOXES, SIZE, CAMERA), pool_depth(DepthMap(frame(1)), BOXES, SIZE)
    joined = joined_frames([seen, without])
    assert joined.x.isnan().all()
    assert joined.y.isnan().all()
    assert joined.z[:2].isfinite().all()
