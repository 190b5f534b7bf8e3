"""Families whose image processors exist only with torchvision, so that their own methods can be asked for sizes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig

from sdvlm.geometry import transform
from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families.family import Boxes, Family, Size, Views
from sdvlm.models.families.tiled import number, one_more, square, stretched, tiles, tiles_family
from sdvlm.types import SdvlmError

__all__ = ["WITH_TORCHVISION"]


def _padded_canvas(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """Tiles of the picture in the upper left of a canvas, then the whole of it where they are many (Llama 4)."""
    from transformers.models.llama4 import image_processing_llama4 as llama4

    side, (width, height) = square(image_processor), size
    possible = torch.tensor(llama4.find_supported_resolutions(image_processor.max_patches, image_processor.size))
    largest = bool(image_processor.resize_to_max_canvas)
    canvas_height, canvas_width = (int(one) for one in llama4.get_best_fit((height, width), possible, largest))
    within = (canvas_height, canvas_width)
    if not largest:
        within = (min(max(height, side), canvas_height), min(max(width, side), canvas_width))
    inner_height, inner_width = (max(one, 1) for one in llama4.get_max_res_without_distortion((height, width), within))
    inner = (int(inner_width), int(inner_height))
    padded = transform.pad(inner, 0, 0, canvas_width - inner[0], canvas_height - inner[1])
    views = tiles(transform.resize(size, inner).then(padded), side)
    return Views((*views, transform.resize(size, (side, side))) if len(views) > 1 else tuple(views))


def _fitting_canvas(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """Tiles of the stretched picture, then the whole of it where they are many (Command A Vision)."""
    from transformers.models.cohere2_vision.image_processing_cohere2_vision import get_optimal_tiled_canvas

    side, columns, rows = square(image_processor), 1, 1
    if image_processor.crop_to_patches:
        least, most = image_processor.min_patches, image_processor.max_patches
        columns, rows = get_optimal_tiled_canvas((size[1], size[0]), (side, side), least, most)
    return stretched(size, side, columns, rows, first=False)


def _thumbnail_and_tiles(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """The whole picture, then tiles of it stretched over a canvas, be it of one tile (Perception LM)."""
    if not image_processor.do_resize:
        return Views((ImageTransform(size, size),))
    side = int(image_processor.tile_size)
    thumbnail = transform.resize(size, (side, side))
    if image_processor.vision_input_type != "thumb+tile":
        return Views((thumbnail,))
    columns, rows = 1, 1
    if image_processor.max_num_tiles > 1:
        fitting = image_processor._fit_image_to_canvas(*size, side)
        columns, rows = fitting or image_processor._find_closest_aspect_ratio(*size, side)
    return Views((thumbnail, *tiles(transform.resize(size, (side * columns, side * rows)), side)))


def _timm_patch(config: PreTrainedConfig) -> int:
    """Side of a patch of a timm tower, whose config names its architecture (``vit_pe_core_large_patch14_336``)."""
    vision = config.vision_config
    stated = (vision.model_args or {}).get("patch_size")
    if stated is not None:
        return number(stated)
    found = re.search(r"patch(\d+)", str(vision.architecture))
    if found is None:
        raise SdvlmError(
            f"the tower '{vision.architecture}' names no patch size; state it: vision_config.model_args['patch_size']"
        )
    return int(found[1])


def _pools(config: PreTrainedConfig, size: Size) -> Boxes:
    """Runs of patches that are pooled adaptively: as equal as can be, overlapping where they do not come out even."""
    patch = _timm_patch(config)
    ends = []
    for side in size:
        patches = side // patch
        count = patches // int(config.projector_pooling_ratio)
        low = np.arange(count) * patches // count
        high = -(-np.arange(1, count + 1) * patches // count)
        ends.append(np.stack([low, high], axis=-1) * float(patch))
    (left, right), (top, bottom) = (one.T for one in ends)
    y, x = np.mgrid[: len(top), : len(left)]
    return np.stack([left[x], top[y], right[x], bottom[y]], axis=-1).reshape(-1, 4)


def _too_large(image_processor: Any, size: Size) -> bool:
    """Whether LFM2-VL's processor cuts a picture into tiles."""
    p = image_processor
    if not p.do_image_splitting or p.min_tiles == p.max_tiles == 1:
        return False
    limits = (p.max_image_tokens, p.encoder_patch_size, p.downsample_factor, p.max_pixels_tolerance)
    return bool(p._is_image_too_large(size[1], size[0], *limits))


def _tiles_if_large(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """Small pictures at their own size; tiles of large ones, then the whole at a size of its own (LFM2-VL)."""
    p = image_processor
    budget = (p.downsample_factor, p.min_image_tokens, p.max_image_tokens, p.encoder_patch_size)
    whole = transform.resize(size, p.smart_resize(size[1], size[0], *budget))
    if not _too_large(p, size):
        return Views((whole,))
    columns, rows, *canvas, _ = p._get_grid_layout(size[1], size[0], p.min_tiles, p.max_tiles, p.tile_size)
    views = tiles(transform.resize(size, (int(canvas[0]), int(canvas[1]))), p.tile_size)
    return Views((*views, whole) if p.use_thumbnail and columns * rows > 1 else tuple(views))


def _padded_patches(config: PreTrainedConfig, views: Views) -> dict[str, torch.Tensor]:
    """Rows of patches, one row a view, padded to the longest."""
    patch = config.vision_config.patch_size
    shapes = [(height // patch, width // patch) for width, height in views.sizes]
    lengths = [rows * columns for rows, columns in shapes]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return {
        "pixel_values": torch.zeros(*mask.shape, 3 * patch**2),
        "pixel_attention_mask": mask.int(),
        "spatial_shapes": torch.tensor(shapes),
    }


WITH_TORCHVISION: dict[str, Family] = {
    "llama4": tiles_family(
        lambda config: round(1 / config.vision_config.pixel_shuffle_ratio),
        views=_padded_canvas,
        source="vision_model.vision_adapter",
        projector="multi_modal_projector",
        tokens="last_hidden_state",
        width=lambda config: int(config.vision_config.vision_output_dim),
    ),
    "cohere2_vision": tiles_family(lambda config: int(config.downsample_factor), views=_fitting_canvas),
    "lfm2_vl": tiles_family(
        lambda config: int(config.downsample_factor), views=_tiles_if_large, inputs=_padded_patches, rows="calls"
    ),
    "perception_lm": Family(
        views=_thumbnail_and_tiles,
        cells=_pools,
        inputs=lambda config, views: {"pixel_values": one_more(views)},
        source="multi_modal_projector",
        merged=lambda config: int(config.projector_pooling_ratio) ** 2,
        per_picture=False,
    ),
}
"""by ``model_type``"""
