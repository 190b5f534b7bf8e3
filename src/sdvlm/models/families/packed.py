"""Families whose tower takes flattened patches of pictures of any size (Qwen2-VL and its successors)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig
from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as glm_resize

from sdvlm.geometry import transform
from sdvlm.geometry.replay import replay_smart_resize
from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families.family import Boxes, Family, Size, Views, cut, one_view
from sdvlm.types import SdvlmError

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
        "pixel_values": torch.zeros(()).expand(rows * columns, length),
        "image_grid_thw": torch.tensor([[1, rows, columns]]),
    }


def _merged_cells(config: PreTrainedConfig, size: Size) -> Boxes:
    """Merge blocks row by row."""
    vision = config.vision_config
    return cut(size, vision.patch_size * vision.spatial_merge_size).reshape(-1, 4)


def _replay_glm(processor: Any, size: Size) -> ImageTransform:
    """As Qwen2-VL's, but the budget counts the pixels of both frames that a still picture is made into."""
    if not processor.do_resize:
        return ImageTransform(size, size)
    frames, factor = processor.temporal_patch_size, processor.patch_size * processor.merge_size
    low, high = processor.size["shortest_edge"], processor.size["longest_edge"]
    try:
        height, width = glm_resize(frames, size[1], size[0], frames, factor, low, high)
    except ValueError as error:
        raise SdvlmError(f"the picture of {size[0]}x{size[1]} pixels does not fit this model: {error}") from error
    return transform.resize(size, (width, height))


_BEFORE_MERGE = Family(
    views=one_view(replay_smart_resize),
    cells=_merge_order,
    inputs=_blank_patches,
    source="visual.patch_embed",
    rows="flat",
    merge="visual.merger",
    merged=lambda config: int(config.vision_config.spatial_merge_size) ** 2,
)
_AFTER_MERGE = replace(_BEFORE_MERGE, cells=_merged_cells, source="visual.merger", merge=None)
"""where learned positions are added to the cells before they are merged"""
PACKED: dict[str, Family] = {
    "qwen2_vl": _BEFORE_MERGE,
    "qwen2_5_vl": _BEFORE_MERGE,
    "qwen3_vl": _AFTER_MERGE,
    "qwen3_vl_moe": _AFTER_MERGE,
    "qwen3_5": _AFTER_MERGE,
    "glm4v": replace(_AFTER_MERGE, views=one_view(_replay_glm)),
}
"""by ``model_type``"""
