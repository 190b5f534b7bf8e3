"""Families that see each picture once, at a size of its own, padded to the others of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size

from sdvlm.geometry import transform
from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families.family import Boxes, Family, Size, Views, cut
from sdvlm.types import SdvlmError

__all__ = ["RAGGED"]


def _within_longest(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """Down to the longest edge, each side up to whole merge blocks (Mistral 3, whose processor asks for blocks)."""
    if not image_processor.do_resize:
        return Views((ImageTransform(size, size),))
    longest = image_processor.size["longest_edge"]
    block = config.vision_config.patch_size * config.spatial_merge_size
    blank = np.broadcast_to(np.uint8(0), (3, size[1], size[0]))
    height, width = get_resize_output_image_size(blank, (longest, longest), (block, block))
    return Views((transform.resize(size, (int(width), int(height))),))


def _blocks(config: PreTrainedConfig, size: Size) -> Boxes:
    return cut(size, config.vision_config.patch_size * config.spatial_merge_size).reshape(-1, 4)


def _sized(config: PreTrainedConfig, views: Views) -> dict[str, torch.Tensor]:
    ((width, height),) = views.sizes
    return {"pixel_values": torch.zeros(1, 3, height, width), "image_sizes": torch.tensor([[height, width]])}


def _within_budget(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """As large as a budget of tokens allows (Gemma 4)."""
    if not image_processor.do_resize:
        return Views((ImageTransform(size, size),))
    kernel = image_processor.pooling_kernel_size
    patches = image_processor.max_soft_tokens * kernel**2
    try:
        height, width = get_aspect_ratio_preserving_size(size[1], size[0], image_processor.patch_size, patches, kernel)
    except ValueError as error:
        raise SdvlmError(f"the picture of {size[0]}x{size[1]} pixels does not fit this model: {error}") from error
    return Views((transform.resize(size, (width, height)),))


def _pools(config: PreTrainedConfig, size: Size) -> Boxes:
    return cut(size, config.vision_config.patch_size * config.vision_config.pooling_kernel_size).reshape(-1, 4)


def _patches_with_places(config: PreTrainedConfig, views: Views) -> dict[str, torch.Tensor]:
    patch = config.vision_config.patch_size
    ((width, height),) = views.sizes
    y, x = torch.meshgrid(torch.arange(height // patch), torch.arange(width // patch), indexing="ij")
    places = torch.stack([x, y], dim=-1).reshape(1, -1, 2)
    return {"pixel_values": torch.zeros(1, places.shape[1], 3 * patch**2), "image_position_ids": places}


RAGGED: dict[str, Family] = {
    "mistral3": Family(
        views=_within_longest,
        cells=_blocks,
        inputs=_sized,
        source="multi_modal_projector",
        rows="flat",
        merged=lambda config: int(config.spatial_merge_size) ** 2,
    ),
    "gemma4": Family(
        views=_within_budget,
        cells=_pools,
        inputs=_patches_with_places,
        source="embed_vision",
        rows="flat",
        merged=lambda config: int(config.vision_config.pooling_kernel_size) ** 2,
    ),
}
"""by ``model_type``"""
