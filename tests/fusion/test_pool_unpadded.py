"""Pooling as the released SD-VLM code pools, against its formula in loops and its own recorded outputs."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.coordinate import coordinate
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.pool_unpadded import pool_missing, pool_unpadded
from sdvlm.types import DepthKind, DepthMap, SdvlmError

CASES = Path(__file__).parents[3] / "shared" / "golden" / "sd_vlm_official" / "cases.npz"
recorded_only = pytest.mark.skipif(not CASES.exists(), reason=f"the recorded outputs are not here: {CASES}")


@pytest.fixture(scope="module")
def recorded():
    with np.load(CASES) as arrays:
        yield arrays


def _looped(values, rows, columns, stop):
    """Mean of the known pixels of each bin; NaN where a bin has none. ``stop``: rounding of a bin's end."""
    out = np.full((rows, columns), np.nan)
    height, width = values.shape
    for i in range(rows):
        for j in range(columns):
            bin_ = values[
                math.floor(i * height / rows) : stop((i + 1) * height / rows),
                math.floor(j * width / columns) : stop((j + 1) * width / columns),
            ]
            known = bin_[np.isfinite(bin_)]
            if known.size:
                out[i, j] = known.mean(dtype=np.float64)
    return out.ravel()


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    holes=st.sampled_from([0.0, 0.3, 0.97]),
    kind=st.sampled_from(list(DepthKind)),
)
def test_bins_are_the_released_ones_for_every_size_of_map_and_grid(size, grid, holes, kind):
    rng = np.random.default_rng(size[0] * 41 + size[1])
    values = rng.uniform(0.5, 9.0, size)
    values[rng.random(size) < holes] = np.nan
    found = pool_unpadded(DepthMap(values, kind), *grid)
    if kind is DepthKind.METRIC:
        expected = np.nan_to_num(_looped(values, *grid, math.floor))
    else:
        expected = _looped(values, *grid, math.ceil)
    np.testing.assert_allclose(found.z.numpy(), expected, rtol=1e-5)
    assert (found.valid[found.z.isnan() | (found.z == 0)] == 0).all()
    assert len(found) == grid[0] * grid[1]


def test_a_grid_without_cells_is_refused():
    for depth in (None, DepthMap(np.ones((4, 4)))):
        with pytest.raises(SdvlmError, match="at least one row and one column; got 0 x 3"):
            pool_unpadded(depth, 0, 3)


def test_a_picture_without_depth_leaves_its_tokens_alone_and_a_missing_picture_does_not():
    fusion, tokens = build_fusion(FusionConfig.preset("sdvlm_official"), 8), torch.randn(12, 8)
    assert torch.equal(fusion(tokens, pool_unpadded(None, 3, 4)), tokens)
    assert torch.equal(fusion(tokens, pool_missing(3, 4)), tokens + torch.tensor([0.0, 1.0] * 4))


def test_the_grid_survives_packing_beside_another_and_says_where_its_cells_are():
    first, second = pool_unpadded(DepthMap(np.eye(4) + 1, "disparity"), 2, 2), pool_missing(2, 2)
    both = DepthGrid.concatenate([first, second])
    back = DepthGrid.unpack(both.pack(), both.image_index)
    assert back.image_index.tolist() == [0] * 4 + [1] * 4
    assert back.u[:4].tolist() == [0.25, 0.75, 0.25, 0.75]
    assert back.v[:4].tolist() == [0.25, 0.25, 0.75, 0.75]
    assert torch.equal(back.z, torch.cat([first.z, second.z]))


@recorded_only
def test_an_estimated_map_pools_as_recorded(recorded):
    grid = pool_unpadded(DepthMap(recorded["image2/depth_raw"], "disparity"), 24, 24)
    found = coordinate(grid, "sdvlm_compat").numpy()
    np.testing.assert_allclose(found, recorded["image2/depth_grid"].ravel(), atol=2e-3)


@recorded_only
@pytest.mark.parametrize("image", range(3))
def test_measured_depth_with_holes_is_pooled_and_coded_as_recorded(recorded, image):
    metres = recorded[f"gt{image}/depth_u16_as_i32"] / 1000
    grid = pool_unpadded(DepthMap(metres), 24, 24)
    np.testing.assert_allclose(grid.z.numpy() * 1000, recorded[f"gt{image}/pooled_fp32"].ravel(), rtol=1e-5)
    found = coordinate(grid, "sdvlm_compat").numpy()
    np.testing.assert_allclose(found, recorded[f"gt{image}/grid_fp32"].ravel(), atol=2e-3)
    code = build_fusion(FusionConfig.preset("sdvlm_official"), 64)(torch.zeros(576, 64), grid)
    np.testing.assert_allclose(code.numpy(), recorded[f"gt{image}/dpe"], atol=2e-3)


@recorded_only
@pytest.mark.parametrize("image", range(3))
def test_the_half_precision_grid_is_the_same_pooling_of_millimetres_rounded_to_half(recorded, image):
    millimetres = recorded[f"gt{image}/depth_u16_as_i32"].astype(np.float16).astype(np.float32)
    grid = pool_unpadded(DepthMap(millimetres), 24, 24)
    pooled = grid.z.half().float()
    np.testing.assert_array_equal(pooled.numpy(), recorded[f"gt{image}/pooled_fp16"].ravel())
    found = coordinate(replace(grid, z=pooled), "sdvlm_compat").numpy()
    np.testing.assert_allclose(found, recorded[f"gt{image}/grid_fp16"].ravel(), atol=2e-3)


@recorded_only
def test_a_sample_without_a_picture_is_coded_as_recorded(recorded):
    grid = pool_missing(24, 24)
    np.testing.assert_array_equal(coordinate(grid, "sdvlm_compat").numpy(), recorded["none_image/depth_grid"].ravel())
    code = build_fusion(FusionConfig.preset("sdvlm_official"), 64)(torch.zeros(576, 64), grid)
    np.testing.assert_allclose(code.numpy(), recorded["none_image/dpe"], atol=2e-3)
