"""Pooling over token boxes against a loop over pixels that weighs each by the area the box covers of it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.fusion.pool import pool_depth
from sdvlm.geometry.transform import letterbox
from sdvlm.types import Camera, DepthMap, SdvlmError

STATISTICS = ("z", "z_min", "z_max", "z_std", "x", "y", "valid")
EDGE = 1e-6


def _pooled_by_hand(depth, box, camera=None):
    """Every pixel weighed by the part of it inside the box; the definition of each statistic, written out."""
    height, width = depth.shape
    left, top, right, bottom = box
    weights, zs, xs, ys, touched = [], [], [], [], []
    for i in range(height):
        for j in range(width):
            weight = max(0, min(right, j + 1) - max(left, j)) * max(0, min(bottom, i + 1) - max(top, i))
            if weight > 0 and not np.isnan(depth[i, j]):
                z = float(depth[i, j])
                weights.append(weight)
                zs.append(z)
                if min(right, j + 1) - max(left, j) > EDGE and min(bottom, i + 1) - max(top, i) > EDGE:
                    touched.append(z)
                if camera is not None:
                    xs.append((j + 0.5 - camera.cx) / camera.fx * z)
                    ys.append((i + 0.5 - camera.cy) / camera.fy * z)
    if not touched:
        return dict.fromkeys(STATISTICS, math.nan) | {"valid": 0.0}
    mean = np.average(zs, weights=weights)
    out = {
        "z": mean,
        "z_min": min(touched),
        "z_max": max(touched),
        "z_std": math.sqrt(np.average((np.array(zs) - mean) ** 2, weights=weights)),
        "valid": sum(weights) / ((right - left) * (bottom - top)),
    }
    if camera is None:
        return out | {"x": math.nan, "y": math.nan}
    return out | {"x": np.average(xs, weights=weights), "y": np.average(ys, weights=weights)}


def _check(grid, index, expected):
    for name in STATISTICS:
        got = getattr(grid, name)[index].item()
        assert got == pytest.approx(expected[name], rel=1e-4, abs=1e-5, nan_ok=True), name


@given(st.integers(1, 13), st.integers(1, 11), st.floats(0, 1), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_boxes_anywhere_pool_as_a_loop_over_pixels_does(width, height, holes, with_camera, seed):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.3, 30, (height, width)).astype(np.float32)
    values[rng.random(values.shape) < holes] = np.nan
    corners = rng.uniform(-0.4, 1.4, (5, 2, 2)) * [width, height]  # fractional, partly or wholly outside
    corners[3:] = corners[3:].round()  # and some on pixel edges
    corners[3:, 1] += 1
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    camera = Camera(width, height, 9.0, 7.0, width / 2 + 1, height / 3) if with_camera else None
    grid = pool_depth(DepthMap(values), boxes, (width, height), camera)
    for index, box in enumerate(boxes):
        _check(grid, index, _pooled_by_hand(values, box, camera))


def test_a_token_grid_on_an_odd_sized_picture_pools_as_the_loop_does():
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 5, (37, 53)).astype(np.float32)
    values[10:20, 5:30] = np.nan
    x, y = np.linspace(0, 53, 8), np.linspace(0, 37, 6)
    boxes = np.array([[x[i], y[j], x[i + 1], y[j + 1]] for j in range(5) for i in range(7)])
    grid = pool_depth(DepthMap(values), boxes, (53, 37))
    for index, box in enumerate(boxes):
        _check(grid, index, _pooled_by_hand(values, box))


def test_boxes_of_a_letterboxed_picture_pool_the_cells_their_pixels_went_to():
    # 40x30 in an 8x8 grid of a square: rows 0 and 7 see only padding, row 1 from above the picture's middle.
    depth = DepthMap(np.repeat(np.arange(1.0, 31.0)[:, None], 40, axis=1))  # row i lies at i + 1 metres
    transform = letterbox((40, 30), (64, 64))
    cells = np.array([[8 * i, 8 * j, 8 * i + 8, 8 * j + 8] for j in range(8) for i in range(8)])
    grid = pool_depth(depth, transform.boxes_to_source(cells), (40, 30))
    rows = grid.z.reshape(8, 8)
    assert torch.isnan(rows[[0, 7]]).all()
    assert (grid.valid.reshape(8, 8)[[0, 7]] == 0).all()
    # each cell is 5 source pixels high: row 1 sees rows 0..4 of the picture, mean 3 m, and so on
    np.testing.assert_allclose(rows[1:7].numpy(), np.repeat(np.arange(3.0, 30.0, 5.0)[:, None], 8, axis=1), rtol=1e-6)


def test_a_box_half_in_the_padding_has_half_the_valid_area_and_an_unmixed_mean():
    grid = pool_depth(DepthMap(np.full((4, 4), 3.0)), np.array([[-2.0, 0.0, 2.0, 4.0]]), (4, 4))
    assert grid.valid.item() == pytest.approx(0.5)
    assert grid.z.item() == pytest.approx(3.0)


def test_a_box_that_only_grazes_the_picture_by_rounding_is_without_depth():
    grid = pool_depth(DepthMap(np.ones((40, 4))), np.array([[-8.0, 0.0, 5e-7, 40.0]]), (4, 40))
    assert not grid.known.item()
    assert math.isnan(grid.z_min.item())
    assert grid.valid.item() == 0.0


def test_pooling_ignores_unknown_pixels():
    values = np.array([[1.0, np.nan], [np.nan, 3.0]])
    grid = pool_depth(DepthMap(values), np.array([[0.0, 0.0, 2.0, 2.0]]), (2, 2))
    assert (grid.z.item(), grid.valid.item()) == (2.0, 0.5)
    assert (grid.z_min.item(), grid.z_max.item()) == (1.0, 3.0)


def test_the_mean_is_exact_on_a_large_map_with_far_things_in_it():
    values = np.full((1000, 1400), 60.0, np.float32)
    values[500:514, 700:714] = 0.7321
    grid = pool_depth(DepthMap(values), np.array([[700.0, 500.0, 714.0, 514.0]]), (1400, 1000))
    assert grid.z.item() == pytest.approx(0.7321, rel=1e-6)
    assert grid.z_std.item() < 1e-3  # of a map with 3600 m2 of square depth


def test_a_token_that_looks_nowhere_has_no_depth_no_place_and_no_ray():
    boxes = np.array([[0.0, 0.0, 2.0, 2.0], [np.nan] * 4])
    grid = pool_depth(DepthMap(np.ones((2, 2))), boxes, (2, 2), Camera.from_fov(2, 2, 60))
    assert grid.known.tolist() == [True, False]
    assert grid.valid.tolist() == [1.0, 0.0]
    for name in ("z", "x", "y", "z_min", "z_max", "z_std", "ray_x", "ray_y", "u", "v"):
        assert math.isnan(getattr(grid, name)[1].item())
        assert not math.isnan(getattr(grid, name)[0].item())


@pytest.mark.parametrize("depth", [None, DepthMap(np.full((2, 2), np.nan))])
def test_without_a_known_pixel_every_token_is_without_depth_but_keeps_its_place(depth):
    grid = pool_depth(depth, np.array([[0.0, 0.0, 1.0, 2.0]]), (2, 2), Camera(2, 2, 2.0, 4.0, 1.5, 1.0))
    assert not grid.known.any()
    assert grid.valid.item() == 0
    assert (grid.u.item(), grid.v.item()) == (0.25, 0.5)
    assert (grid.ray_x.item(), grid.ray_y.item()) == (-0.5, 0.0)


def test_the_kind_is_kept_and_only_metric_depth_gives_points():
    boxes, camera = np.array([[0.0, 0.0, 2.0, 2.0]]), Camera.from_fov(2, 2, 60)
    codes = {None: 0, "metric": 1, "relative": 2, "disparity": 3}
    for kind, code in codes.items():
        depth = None if kind is None else DepthMap(np.ones((2, 2)), kind)
        grid = pool_depth(depth, boxes, (2, 2), camera)
        assert grid.kind.item() == code
        assert math.isnan(grid.x.item()) == (kind != "metric")


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0, 8.0]))
@settings(max_examples=20, deadline=None)
def test_a_scaled_map_pools_to_scaled_depth_and_points(seed, factor):
    rng = np.random.default_rng(seed)
    depth, camera = DepthMap(rng.uniform(0.5, 5, (6, 7))), Camera.from_fov(7, 6, 70)
    boxes = np.array([[0.3, 1.2, 4.4, 5.5], [2.0, 0.0, 7.0, 3.0]])
    plain, scaled = (pool_depth(d, boxes, (7, 6), camera) for d in (depth, depth.scaled(factor)))
    for name in ("z", "z_min", "z_max", "x", "y"):
        torch.testing.assert_close(getattr(scaled, name), factor * getattr(plain, name), rtol=1e-5, atol=1e-5)


def test_a_bump_in_one_patch_moves_only_the_boxes_that_cover_it():
    flat = np.full((24, 24), 4.0)
    bumped = flat.copy()
    bumped[9:11, 13:15] = 1.0
    boxes = np.array([[6 * i, 6 * j, 6 * i + 6, 6 * j + 6] for j in range(4) for i in range(4)])
    before, after = (pool_depth(DepthMap(d), boxes, (24, 24)) for d in (flat, bumped))
    assert torch.nonzero(before.z != after.z).flatten().tolist() == [4 * 1 + 2]


def test_no_boxes_give_an_empty_grid():
    assert len(pool_depth(DepthMap(np.ones((2, 2))), np.empty((0, 4)), (2, 2))) == 0


def test_depth_or_camera_of_another_size_than_the_picture_is_refused():
    boxes = np.array([[0.0, 0.0, 2.0, 2.0]])
    with pytest.raises(SdvlmError, match="depth is for 3x2 pixels, the image is 2x2"):
        pool_depth(DepthMap(np.ones((2, 3))), boxes, (2, 2))
    with pytest.raises(SdvlmError, match="camera is for 4x4 pixels, the image is 2x2"):
        pool_depth(None, boxes, (2, 2), Camera.from_fov(4, 4, 60))
