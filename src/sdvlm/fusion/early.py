"""Early fusion: depth in front of a vision tower's first layer, beside what a fusion adds to the tokens behind it.

Each patch's depth planes go through a convolution of one patch, which starts at zero, and are added to the patch's
embedding: the tower then sees RGB and depth together, as RGB-D transformers do (MultiMAE, arXiv 2204.01678, sums no
streams but embeds each modality by such a projection). It costs next to nothing, and the tower's layers do the rest: it
pays where they are trained, or fine-tuned, with it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdvlm.fusion.adapter import TowerDepth
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.tower_layers import patch_side, tower_width

__all__ = ["EarlyDepth"]


class EarlyDepth(TowerDepth):
    """Depth planes in the patch embeddings, and a fusion of the tokens.

    A fresh one leaves the tower as it is; a patch none of whose pixels has depth keeps its embedding bit for bit. The
    update is a share of the mean size of the picture's embeddings, since towers differ in it a hundredfold.

    Args:
        base_model: the vision-language model without its head; read for its sizes, not kept.
        channels: planes of the depth map.
        behind: the fusion of the tokens.

    Raises:
        SdvlmError: the tower is no plain transformer.
    """

    def __init__(self, base_model: nn.Module, channels: int, behind: nn.Module) -> None:
        super().__init__()
        self.layers = (0,)
        self.stem = _PatchStem(channels, tower_width(base_model), patch_side(base_model))
        self.stages = nn.ModuleList([_Add()])
        self.behind = behind

    def forward(self, tokens: Tensor, grid: DepthGrid) -> Tensor:
        """The tokens (T, D) as the fusion behind the tower makes them."""
        fused: Tensor = self.behind(tokens, grid)
        return fused


class _PatchStem(nn.Module):
    """Depth planes to an update of each patch, in float32: bfloat16 would round depth to one per cent."""

    def __init__(self, channels: int, tower_width: int, patch: int) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(channels + 1, tower_width, patch, stride=patch, bias=False)
        nn.init.zeros_(self.pixels.weight)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """(P, C, H, W) float32 planes to the (P, h, w, D) update and (P, h, w, 1) bool, some pixel is known."""
        known = (planes != 0).any(dim=1, keepdim=True)
        with torch.autocast(device_type=planes.device.type, enabled=False):
            seen = torch.cat([planes.float(), known.float()], dim=1)
            update = F.conv2d(seen, self.pixels.weight.float(), stride=self.pixels.stride)
            there = F.max_pool2d(known.float(), self.pixels.kernel_size, self.pixels.stride) > 0
        return update.movedim(1, -1), there.movedim(1, -1)


class _Add(nn.Module):
    """Where the update enters."""

    def forward(self, tokens: Tensor, update: Any) -> tuple[Tensor, Tensor, Any]:
        """(P, h, w, D) embeddings and what the stem made: the update, where it counts, and the stem's again."""
        return update[0], update[1], update
