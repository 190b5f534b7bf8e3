"""Against numbers recorded from the released SD-VLM code (../shared/golden/sd_vlm_official/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.coordinate import coordinate
from sdvlm.fusion.pool import pool_depth
from sdvlm.types import DepthMap

CASES = Path(__file__).parents[3] / "shared" / "golden" / "sd_vlm_official" / "cases.npz"
TOLERANCE = 2e-3  # absolute, float32: depth_grid, dpe and fused (README, Tolerances)

pytestmark = pytest.mark.skipif(not CASES.exists(), reason=f"the recorded outputs are not here: {CASES}")


@pytest.fixture(scope="module")
def recorded():
    with np.load(CASES) as arrays:
        yield arrays


def _bins(width, height, overlap):
    """Boxes of the 24 x 24 pooling cells; ``overlap``: cells end at the ceiling (torch), else at the floor."""

    def edges(length):
        start = np.arange(24) * length // 24
        stop = -(-(np.arange(1, 25) * length) // 24) if overlap else np.arange(1, 25) * length // 24
        return start, stop

    (x0, x1), (y0, y1) = edges(width), edges(height)
    return np.array([[x0[i], y0[j], x1[i], y1[j]] for j in range(24) for i in range(24)], dtype=float)


@pytest.mark.parametrize("image", range(5))
def test_the_sdvlm_preset_fuses_as_the_released_model_does(recorded, make_grid, image):
    grid = make_grid(recorded[f"image{image}/depth_grid"].ravel(), kind="disparity")
    projected = torch.from_numpy(recorded[f"image{image}/projected"])
    fusion = build_fusion(FusionConfig.preset("sdvlm"), projected.shape[1])
    fused = fusion(projected, grid)
    np.testing.assert_allclose(fused.numpy(), recorded[f"image{image}/fused"], atol=TOLERANCE)
    code = fusion(torch.zeros_like(projected), grid)
    np.testing.assert_allclose(code.numpy(), recorded[f"image{image}/dpe"], atol=TOLERANCE)


def test_a_full_estimated_map_pools_and_codes_as_the_released_model_does(recorded):
    raw = recorded["image2/depth_raw"]
    height, width = raw.shape
    grid = pool_depth(DepthMap(raw, "disparity"), _bins(width, height, overlap=True), (width, height))
    np.testing.assert_allclose(
        coordinate(grid, "sdvlm_compat").numpy(), recorded["image2/depth_grid"].ravel(), atol=TOLERANCE
    )


@pytest.mark.parametrize("image", range(3))
def test_measured_depth_with_holes_pools_as_the_released_code_does(recorded, image):
    millimetres = recorded[f"gt{image}/depth_u16_as_i32"]
    height, width = millimetres.shape
    boxes = _bins(width, height, overlap=False)
    grid = pool_depth(DepthMap(millimetres.astype(np.float32)), boxes, (width, height))
    pooled = np.nan_to_num(grid.z.numpy())  # the released code writes 0 where a cell has no depth
    np.testing.assert_allclose(pooled, recorded[f"gt{image}/pooled_fp32"].ravel(), rtol=1e-5)
