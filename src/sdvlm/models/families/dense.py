"""Families that see each picture once, at one fixed size."""

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
from sdvlm.types import SdvlmError

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
    if getattr(image_processor, "do_pan_and_scan", None):
        raise SdvlmError("pan and scan is not replayed; set do_pan_and_scan=False on the image processor")
    return Views((replay_crop(image_processor, size),))


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
