"""DINOv2's own stretching of position embeddings, for depth networks that were trained with it.

For an input of h x w cells, DINOv2 and Depth Anything V2 resample their n x n embeddings at a scale of (h + 0.1) / n,
transformers at h / n. On inputs that are not square the difference moves a relative depth map by up to 4 % of its range
(measured with the recorded SD-VLM cases). A config whose backbone says ``interpolate_offset`` asks for the former.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings

__all__ = ["OffsetEmbeddings", "follow_offset"]


class OffsetEmbeddings(Dinov2Embeddings):
    """The stock embeddings with the scale of the original (``interpolate_pos_encoding`` of ``dinov2.py``)."""

    def interpolate_pos_encoding(self, embeddings: Tensor, height: int, width: int) -> Tensor:
        """(1, 1 + cells, D) for an input of ``height`` x ``width`` pixels; see the class it is of."""
        stored: Tensor = self.position_embeddings
        side = math.isqrt(stored.shape[1] - 1)
        patch: Any = self.config.patch_size
        rows, columns = height // patch, width // patch
        if rows == columns == side:
            return stored
        offset = float(self.config.interpolate_offset)
        grid = stored[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
        scale = ((rows + offset) / side, (columns + offset) / side)
        resized = nn.functional.interpolate(grid, scale_factor=scale, mode="bicubic")  # [1, D, rows, columns]
        return torch.cat([stored[:, :1], resized.flatten(2).transpose(1, 2).to(stored.dtype)], dim=1)


def follow_offset(model: Any) -> None:
    """Give a depth model the embeddings its config asks for, with the weights it has."""
    config: Any = getattr(model.config, "backbone_config", None)
    if not getattr(config, "interpolate_offset", None):
        return
    stock = model.backbone.embeddings
    with torch.device("meta"):
        own = OffsetEmbeddings(config)
    own.load_state_dict(stock.state_dict(), assign=True)
    model.backbone.embeddings = own.train(stock.training)
