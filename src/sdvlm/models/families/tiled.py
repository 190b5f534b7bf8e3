"""Families that see a picture as tiles beside a thumbnail of the whole of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas
from transformers.models.idefics3.image_processing_pil_idefics3 import get_resize_output_image_size
from transformers.models.ovis2.image_processing_pil_ovis2 import get_min_tile_covering_grid

from sdvlm.geometry import transform
from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families.dense import blank_batch
from sdvlm.models.families.family import Boxes, Family, Size, Views, cut, patch_cells
from sdvlm.types import SdvlmError

__all__ = ["TILED", "number", "one_more", "square", "stretched", "tiles", "tiles_family"]


def square(image_processor: Any) -> int:
    """Side of a view, which all are squares."""
    size, crop = image_processor.size, getattr(image_processor, "crop_size", None) or {}
    sides = {one for one in (*dict(size).values(), *dict(crop).values()) if one}
    if len(sides) != 1:
        raise SdvlmError(f"cannot replay tiles that are no squares of one size: {dict(size)}; state one side")
    return int(sides.pop())


def tiles(stretched: ImageTransform, side: int) -> list[ImageTransform]:
    return [stretched.then(tile) for tile in transform.tiles(stretched.target_size, (side, side))]


def one_more(views: Views) -> torch.Tensor:
    """(1, views, 3, height, width): the views of one picture, as a batch of one."""
    return blank_batch(None, views)["pixel_values"][None]  # type: ignore[arg-type]


def _unpadded(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """Thumbnail, then tiles of the picture padded to the best of some resolutions (LLaVA-NeXT and OneVision)."""
    side = square(image_processor)
    width, height = size
    best_height, best_width = select_best_resolution((height, width), image_processor.image_grid_pinpoints)
    blank = np.broadcast_to(np.uint8(0), (3, height, width))
    inner_height, inner_width = get_patch_output_size(blank, (best_height, best_width), ChannelDimension.FIRST)
    (left, more_left), (top, more_top) = divmod(best_width - inner_width, 2), divmod(best_height - inner_height, 2)
    inner = (int(inner_width), int(inner_height))
    padded = transform.resize(size, inner).then(transform.pad(inner, left, top, left + more_left, top + more_top))
    return Views((transform.resize(size, (side, side)), *tiles(padded, side)), {"size": size})


def _padded_square(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """No tiles, the picture padded to a square (OneVision, of several pictures in a prompt)."""
    side, longest = square(image_processor), max(size)
    left, top = (longest - size[0]) // 2, (longest - size[1]) // 2
    padded = transform.pad(size, left, top, longest - size[0] - left, longest - size[1] - top)
    return Views((padded.then(transform.resize(padded.target_size, (side, side))),), {"size": size, "several": True})


def _with_sizes(config: PreTrainedConfig, views: Views) -> dict[str, torch.Tensor]:
    width, height = views.extra["size"]
    several = {"batch_num_images": torch.tensor([2])} if "several" in views.extra else {}
    return {"pixel_values": one_more(views), "image_sizes": torch.tensor([[height, width]]), **several}


def stretched(size: Size, side: int, columns: int, rows: int, first: bool) -> Views:
    """Tiles of the picture stretched over a canvas of them; a thumbnail before or behind them where they are many."""
    cut_up = tiles(transform.resize(size, (side * columns, side * rows)), side)
    thumbnail = [transform.resize(size, (side, side))] if len(cut_up) > 1 else []
    return Views(tuple(thumbnail + cut_up if first else cut_up + thumbnail))


def _closest_canvas(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """InternVL and Aya Vision, whose processors ask for tiles whatever their image processors say of themselves."""
    side, least, most = square(image_processor), image_processor.min_patches, image_processor.max_patches
    columns, rows = get_optimal_tiled_canvas((size[1], size[0]), (side, side), least, most) if most > 1 else (1, 1)
    return stretched(size, side, columns, rows, first=False)


def _covering_canvas(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """Ovis2."""
    side, least, most = square(image_processor), image_processor.min_patches, image_processor.max_patches
    columns, rows = 1, 1
    if image_processor.crop_to_patches and most > 1:
        height_width = (size[1], size[0])
        if image_processor.use_covering_area_grid:
            columns, rows = get_min_tile_covering_grid(height_width, side, most, 0.9)
        else:
            columns, rows = get_optimal_tiled_canvas(height_width, (side, side), least, most)
    return stretched(size, side, columns, rows, first=True)


def _whole_tiles(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """The longest edge to a size, then each edge up to whole tiles; the thumbnail comes last (Idefics3, SmolVLM)."""
    side = int(image_processor.max_image_size["longest_edge"])
    if not image_processor.do_image_splitting:
        return Views((transform.resize(size, (side, side)),))
    width, height = size
    if image_processor.do_resize:
        blank = np.broadcast_to(np.uint8(0), (3, height, width))
        height, width = get_resize_output_image_size(blank, image_processor.size["longest_edge"])
    ratio = width / height
    if width >= height:
        width = math.ceil(width / side) * side
        height = math.ceil(int(width / ratio) / side) * side
    else:
        height = math.ceil(height / side) * side
        width = math.ceil(int(height * ratio) / side) * side
    return stretched(size, side, width // side, height // side, first=False)


def number(value: Any) -> int:
    """A side, which some configs state as a pair."""
    return int(value[0] if isinstance(value, list | tuple) else value)


def _joined(factor: Any) -> tuple[Any, Any]:
    """``cells`` and ``merged`` of squares of factor(config) patches, of which the last may reach beyond the view."""

    def cells(config: PreTrainedConfig, size: Size) -> Boxes:
        cell = factor(config) * number(config.vision_config.patch_size)
        whole = (-(-size[0] // cell) * cell, -(-size[1] // cell) * cell)
        return cut(whole, cell).reshape(-1, 4)

    return cells, lambda config: factor(config) ** 2


def tiles_family(factor: Any, **facts: Any) -> Family:
    cells, merged = _joined(factor)
    known = {"inputs": blank_batch, "source": "multi_modal_projector", "per_picture": False}
    return Family(**{**known, "cells": cells, "merged": merged, **facts})


_LLAVA_NEXT = Family(
    views=_unpadded,
    cells=patch_cells,
    inputs=_with_sizes,
    source="multi_modal_projector",
    nowhere=("image_newline",),
)
_IDEFICS3 = tiles_family(
    lambda config: int(config.scale_factor),
    views=_whole_tiles,
    inputs=lambda config, views: {"pixel_values": one_more(views)},
    source="connector",
)
TILED: dict[str, Family] = {
    "llava_next": _LLAVA_NEXT,
    "llava_onevision": replace(_LLAVA_NEXT, beside=_padded_square),
    "internvl": tiles_family(lambda config: round(1 / config.downsample_ratio), views=_closest_canvas),
    "aya_vision": tiles_family(lambda config: int(config.downsample_factor), views=_closest_canvas),
    "idefics3": _IDEFICS3,
    "smolvlm": replace(_IDEFICS3),
    "ovis2": tiles_family(
        lambda config: int(config.vision_config.hidden_stride),
        views=_covering_canvas,
        source="visual_embeddings_table",
    ),
}
"""by ``model_type``"""
