"""The rotary variant of the released SD-VLM code, against its table in a loop and its recorded outputs."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.rotary import RotateByDepth
from sdvlm.types import SdvlmError

CASES = Path(__file__).parents[3] / "shared" / "golden" / "sd_vlm_official" / "cases.npz"
WIDTH = 8


def _turned(token, position):
    """One token turned by a whole position: channels k and k + D / 2 are a pair."""
    out = list(token)
    half = len(token) // 2
    for k in range(half):
        angle = position / 10_000 ** (2 * k / len(token))
        a, b = token[k], token[k + half]
        out[k], out[k + half] = a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle)
    return out


def test_pairs_of_channels_turn_by_the_whole_position(make_grid):
    tokens = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0))
    found = RotateByDepth(WIDTH, "metres", scale=7.0)(tokens, make_grid([0.1, 1.0, 3.5, math.nan]))
    for token, position, got in zip(tokens.tolist(), (0, 7, 24), found, strict=False):
        np.testing.assert_allclose(got, _turned(token, position), atol=1e-5)
    assert torch.equal(found[3], tokens[3])


def test_norms_stay_and_far_positions_stop_at_the_tables_end(make_grid):
    tokens = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    rotate = RotateByDepth(WIDTH, "metres", scale=100.0)
    found = rotate(tokens, make_grid([5.0, 99.995, 500.0]))
    torch.testing.assert_close(found.norm(dim=-1), tokens.norm(dim=-1))
    np.testing.assert_allclose(found[2], _turned(tokens[2].tolist(), 9999), atol=2e-3)


def test_an_odd_width_is_refused():
    with pytest.raises(SdvlmError, match="must be even and positive; got 7"):
        RotateByDepth(7)


@pytest.mark.skipif(not CASES.exists(), reason=f"the recorded outputs are not here: {CASES}")
@pytest.mark.parametrize("image", [0, 1])
def test_tokens_are_turned_as_recorded(make_grid, image):
    with np.load(CASES) as recorded:
        projected = torch.from_numpy(recorded[f"image{image}/projected"])
        grid = make_grid(recorded[f"image{image}/rope_input"].ravel(), kind="metric")
        found = RotateByDepth(64, "metres", scale=10_000.0)(projected, grid)
        np.testing.assert_allclose(found, recorded[f"image{image}/rope_fused"], atol=2e-3)
        preset = build_fusion(FusionConfig.preset("rope"), 64)
        disparity = make_grid(recorded[f"image{image}/depth_grid"].ravel(), kind="disparity")
        torch.testing.assert_close(preset(projected, disparity).norm(dim=-1), projected.norm(dim=-1))
