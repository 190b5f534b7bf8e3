"""Depth completion from the trunk: hidden patches from those that are seen, and seen ones from themselves.

The first teaches the tower what depth looks like; the second costs no further pass and keeps the metres of each patch
readable from its own token, which is what fusion reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.masks import hide_patches, random_masks
from sdvlm.pretrain.pictures import Chunk, patch_side
from sdvlm.pretrain.reconstruction import DepthDecoder, reconstruct

__all__ = ["DepthCompletion"]

Features = Callable[[dict[str, Tensor], Sequence[tuple[int, int]]], list[Tensor]]
"""inputs and patch grids to (N_i, D) trunk features of each picture"""


class DepthCompletion(nn.Module):
    """Decoder and losses.

    Args:
        encoder: whose trunk is decoded.
        config: weights, mask ratio and share of a batch.
    """

    def __init__(self, encoder: DepthEncoder, config: PretrainConfig) -> None:
        super().__init__()
        tower: Any = encoder.tower.config
        self.decoder = DepthDecoder(encoder.hidden_size, patch_side(tower))
        self.merge = int(getattr(tower, "spatial_merge_size", 1))
        self.config = config

    def forward(self, features: Features, chunk: Chunk, trunk: Sequence[Tensor]) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of both losses.

        Args:
            features: of the depth encoder.
            chunk: pairs with metric depth.
            trunk: features of the chunk as it is.
        """
        config = self.config
        some = max(1, round(config.reconstruction_share * len(chunk)))
        part = chunk.first(some)
        masks = random_masks(part.grids, config.mask_ratio)
        hidden = features(hide_patches(part.depth, masks, part.grids, self.merge), part.grids)
        seen = [torch.zeros_like(one) for one in masks]
        losses = {"reconstruction": (config.reconstructs, self._loss(hidden, part, masks))}
        if config.visible_weight:
            weight = config.reconstructs * config.visible_weight
            losses["reconstruction_seen"] = (weight, self._loss(trunk[:some], part, seen, visible_weight=1.0))
        return losses

    def _loss(
        self, features: Sequence[Tensor], part: Chunk, masks: Sequence[Tensor], visible_weight: float = 0.1
    ) -> Tensor:
        """Mean over the pictures, those of one size together."""
        total = features[0].new_zeros(())
        for grid in sorted(set(part.grids)):
            of = [number for number, one in enumerate(part.grids) if one == grid]
            said = self.decoder(torch.stack([features[number] for number in of]))
            metres = torch.stack([part.metres[number] for number in of])
            masked = torch.stack([masks[number] for number in of]).to(said.device)
            total = total + reconstruct(said, metres, masked, grid, visible_weight).loss * (len(of) / len(part))
        return total
