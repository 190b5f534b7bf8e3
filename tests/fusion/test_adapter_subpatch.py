"""What only a fusion below the patch can do: tell the two halves of one patch apart (fusion-methods 2.7).

A grey picture of 4 x 4 patches, one of them red. The depth of every patch has a step at one, two or three quarters of
its width; both sides are drawn alike, so nothing pooled over the patch says which half is nearer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sdvlm.eval.toy import CELLS, PATCH, draw, packed_grid, tiny_llava
from sdvlm.fusion.adapter import SideAdapter
from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.types import DepthMap

PATCHES, SIDE = CELLS * CELLS, CELLS * PATCH
STEPS, BATCH = 160, 32
Fused = Callable[[Tensor, Tensor], Tensor]


def stepped(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, 16, 16) pictures, (B, 16, 16) metres and (B,) bool: the red patch's left half is nearer."""
    drawn = draw(rng, count, "ordinal")
    left, right = np.exp(rng.uniform(np.log(0.3), np.log(30.0), (2, count, PATCHES)))
    step = rng.integers(1, PATCH, (count, PATCHES, 1))
    rows = np.where(np.arange(PATCH) < step, left[..., None], right[..., None])  # [B, 16, 4]
    patches = np.repeat(rows[:, :, None], PATCH, axis=2).reshape(count, CELLS, CELLS, PATCH, PATCH)
    metres = patches.swapaxes(2, 3).reshape(count, SIDE, SIDE)
    of_red = np.arange(count), drawn.red.numpy()
    return drawn.pixels, torch.tensor(metres, dtype=torch.float32), torch.tensor(left[of_red] < right[of_red])


def accuracy(fused: Fused, parameters: list[nn.Parameter], width: int) -> float:
    """Held-out share of right answers after a read-out, and the fusion with it, has been trained.

    Args:
        fused: (pictures, metres) to (B, 16, D) image tokens with depth.
        parameters: of the fusion.
        width: D.
    """
    torch.manual_seed(0)
    reader = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW([*parameters, *reader.parameters()], lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        pictures, metres, nearer = stepped(rng, BATCH)
        said = reader(fused(pictures, metres)).sum(dim=(1, 2))
        loss = nn.functional.binary_cross_entropy_with_logits(said, nearer.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        pictures, metres, nearer = stepped(np.random.default_rng(1), 1024)
        return float(((reader(fused(pictures, metres)).sum(dim=(1, 2)) > 0) == nearer).float().mean())


@pytest.mark.slow
def test_a_side_adapter_tells_halves_of_a_patch_apart_and_depth_per_token_cannot() -> None:
    host = tiny_llava(0).base_model.requires_grad_(False)
    channels = DepthChannels()
    adapter = SideAdapter(host, channels.count)

    def tokens(pictures: Tensor) -> Tensor:
        return torch.stack(list(host.get_image_features(pictures, return_dict=True).pooler_output))

    def inside(pictures: Tensor, metres: Tensor) -> Tensor:
        planes = torch.from_numpy(np.stack([channels.planes(DepthMap(one.numpy())) for one in metres]))
        with adapter.inside(host, {"pixel_values": planes}, torch.ones(len(planes), dtype=torch.bool)):
            return tokens(pictures)

    per_token = build_fusion(FusionConfig.preset("mlp"), 64)
    assert per_token is not None

    def pooled(pictures: Tensor, metres: Tensor) -> Tensor:
        means = nn.functional.avg_pool2d(metres[:, None], PATCH).flatten(1)
        index = torch.arange(len(means)).repeat_interleave(PATCHES)
        fused: Tensor = per_token(tokens(pictures).flatten(0, 1), DepthGrid.unpack(packed_grid(means), index))
        return fused.unflatten(0, (-1, PATCHES))

    assert accuracy(inside, list(adapter.parameters()), 64) >= 0.85
    assert accuracy(pooled, list(per_token.parameters()), 64) <= 0.60
