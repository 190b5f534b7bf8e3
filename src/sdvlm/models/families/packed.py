"""Families whose tower takes flattened patches of pictures of any size (Qwen2-VL and its successors)."""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedConfig

from sdvlm.geometry.replay import replay_smart_resize
from sdvlm.models.families.family import Boxes, Family, Size, Views, cut, one_view

__all__ = ["PACKED"]


def _merge_order(config: PreTrainedConfig, size: Size) -> Boxes:
    """Patches as Qwen2-VL's processor flattens them: merge blocks row by row, inside a block row by row."""
    merge = config.vision_config.spatial_merge_size
    cells = cut(size, config.vision_config.patch_size)
    rows, columns = cells.shape[0] // merge, cells.shape[1] // merge
    blocks = cells.reshape(rows, merge, columns, merge, 4).swapaxes(1, 2)
    return np.asarray(blocks.reshape(-1, 4))


def _blank_patches(config: PreTrainedConfig, views: Views) -> dict[str, torch.Tensor]:
    vision = config.vision_config
    ((width, height),) = views.sizes
    columns, rows = width // vision.patch_size, height // vision.patch_size
    length = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return {
        "pixel_values": torch.zeros(rows * columns, length),
        "image_grid_thw": torch.tensor([[1, rows, columns]]),
    }


_WINDOWED = Family(
    views=one_view(replay_smart_resize),
    cells=_merge_order,
    inputs=_blank_patches,
    source="visual.patch_embed",
    rows="flat",
    merge="visual.merger",
    merged=lambda config: int(config.vision_config.spatial_merge_size) ** 2,
)
PACKED: dict[str, Family] = {"qwen2_5_vl": _WINDOWED}
"""by ``model_type``"""
