"""Families that see each picture once, at one fixed size."""

from __future__ import annotations

import torch
from transformers import PreTrainedConfig

from sdvlm.geometry.replay import replay_crop
from sdvlm.models.families.family import Family, Views, one_view, patch_cells

__all__ = ["DENSE", "blank_batch"]


def blank_batch(config: PreTrainedConfig, views: Views) -> dict[str, torch.Tensor]:
    """(views, 3, height, width) of one size."""
    width, height = views.sizes[0]
    return {"pixel_values": torch.ones(len(views.sizes), 3, height, width)}


_LLAVA = Family(views=one_view(replay_crop), cells=patch_cells, inputs=blank_batch, source="multi_modal_projector")
DENSE: dict[str, Family] = {"llava": _LLAVA}
"""by ``model_type``"""
