"""Families that see each picture at one fixed size: once, or beside crops of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig

from sdvlm.geometry import transform
from sdvlm.geometry.replay import replay_crop
from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families.family import Boxes, Family, Size, Views, cut, one_view, patch_cells
from sdvlm.models.families.processors import pan_and_scan

__all__ = ["DENSE", "blank_batch"]


def blank_batch(config: PreTrainedConfig, views: Views) -> dict[str, torch.Tensor]:
    """(views, 3, height, width) of one size."""
    width, height = views.sizes[0]
    return {"pixel_values": torch.ones(()).expand(len(views.sizes), 3, height, width)}


def _gemma_cell(config: PreTrainedConfig) -> int:
    """Patches along the side of a token, which is their mean."""
    vision = config.vision_config
    return int((vision.image_size // vision.patch_size) // int(config.mm_tokens_per_image**0.5))


def _gemma_views(config: PreTrainedConfig, image_processor: Any, size: Size) -> Views:
    """The whole picture; where the processor pans and scans, then equal stretches of a long one."""
    windows = [(0, 0, *size), *(_stretches(image_processor, size) if image_processor.do_pan_and_scan else ())]
    cropped = [transform.crop(size, window) for window in windows]
    extra = {"apart": True} if len(windows) > 1 else {}
    return Views(tuple(one.then(replay_crop(image_processor, one.target_size)) for one in cropped), extra)


def _stretches(image_processor: Any, size: Size) -> list[tuple[int, int, int, int]]:
    """Windows (left, top, right, bottom) that pan and scan cuts a picture into, along its longer side; maybe none."""
    scan = getattr(image_processor, "pan_and_scan_batched", None) or image_processor.pan_and_scan
    blank = np.broadcast_to(np.uint8(0), (3, size[1], size[0]))
    out, along = [], 0
    for piece in scan(blank, **pan_and_scan(image_processor)):
        height, width = piece.shape[-2:]
        sideways = height == size[1]
        left, top = (along, 0) if sideways else (0, along)
        out.append((left, top, left + width, top + height))
        along += width if sideways else height
    return out


def _longest_side(image_processor: Any, size: Size) -> ImageTransform:
    """The longer side to the processor's size, the rest padded on both sides (DeepSeek-VL)."""
    steps = ImageTransform(size, size)
    if image_processor.do_resize:
        ratio = image_processor.size["height"] / max(size)
        width, height = (max(round(side * ratio), image_processor.min_size) for side in size)
        steps = steps.then(transform.resize(size, (width, height)))
    if image_processor.do_pad:
        (width, height), side = steps.target_size, max(steps.target_size)
        left, top = (side - width) // 2, (side - height) // 2
        steps = steps.then(transform.pad((width, height), left, top, side - width - left, side - height - top))
    return steps


def _square_of_tokens(config: PreTrainedConfig, size: Size) -> Boxes:
    """As many equal cells as the config states tokens: a convolutional tower states no patch size."""
    side = round(config.image_seq_length**0.5)
    return np.asarray(cut((side, side), 1).reshape(-1, 4) * np.tile([size[0] / side, size[1] / side], 2))


_LLAVA = Family(views=one_view(replay_crop), cells=patch_cells, inputs=blank_batch, source="multi_modal_projector")
_GEMMA3 = Family(
    views=_gemma_views,
    cells=lambda config, size: cut(size, config.vision_config.patch_size * _gemma_cell(config)).reshape(-1, 4),
    inputs=blank_batch,
    source="multi_modal_projector",
    merged=lambda config: _gemma_cell(config) ** 2,
)
DENSE: dict[str, Family] = {
    "llava": _LLAVA,
    "vipllava": _LLAVA,
    "paligemma": _LLAVA,
    "gemma3": _GEMMA3,
    "deepseek_vl": replace(_LLAVA, views=one_view(_longest_side), source="aligner"),
    "fast_vlm": replace(_LLAVA, cells=_square_of_tokens),
}
"""by ``model_type``"""
