"""What each fusion would cost a model: tokens, parameters and computation of a prefill, from its config alone.

The model is built on torch's meta device, so no weight is read or filled in. Computation is counted as usual for
transformers: two operations a parameter and token, and 4 n^2 d a layer for the attention of n tokens of width d
(Kaplan et al., arXiv 2001.08361, section 2.1); embeddings and the work of pooling depth are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import DRAWN_OR_WORDED, ENCODED, PLACES, FusionConfig, Place
from sdvlm.fusion.towers import vision_children
from sdvlm.models.families import token_width
from sdvlm.models.grid import TokenGrid
from sdvlm.types import SdvlmError

__all__ = ["QUESTION_TOKENS", "FusionCost", "fusion_costs"]

QUESTION_TOKENS = 32
"""length of the question the prefill is counted with"""
WORD_TOKENS = 5
"""tokens counted for one depth in words: digits and point apart, as most tokenizers cut them, and a space"""


@dataclass(frozen=True)
class FusionCost:
    """One fusion on one model, for one picture.

    Args:
        fusion: its name.
        place: where depth enters.
        tokens: image tokens of the picture itself.
        extra_tokens: those that depth adds to the sequence.
        parameters: of the fusion module, all of them trainable.
        share: parameters as a share of the model's.
        prefill: computation of a prefill (picture and question) relative to that without depth.
        note: why a number is missing; empty where none is.
    """

    fusion: str
    place: Place
    tokens: int
    extra_tokens: int | None
    parameters: int | None
    share: float | None
    prefill: float | None
    note: str = ""


def fusion_costs(vlm_config: PreTrainedConfig, image_processor: Any, size: tuple[int, int]) -> list[FusionCost]:
    """The cost of every fusion with its preset.

    Args:
        vlm_config: of the vision-language model itself.
        image_processor: its own.
        size: (width, height) of the picture, pixels.

    Raises:
        SdvlmError: the family is not known.
    """
    grid = TokenGrid(vlm_config, image_processor)
    tokens = len(grid.boxes(size))
    patches = grid.patches(size)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(vlm_config)
    host: Any = model.base_model
    text = vlm_config.get_text_config()
    vision = sum(_count(part) for part in vision_children(host).values())
    language = _count(model) - vision - _count(host.get_input_embeddings())

    def prefill(extra: int, seen: int) -> float:
        """Operations, with ``extra`` tokens in the sequence and the vision half run ``seen`` times."""
        n = tokens + extra + QUESTION_TOKENS
        attention = 4 * n * n * text.hidden_size * text.num_hidden_layers
        return float(2.0 * language * n + attention + seen * 2.0 * vision * patches)

    out = []
    for name, place in PLACES.items():
        config = FusionConfig.preset(name)
        try:
            parameters = 0
            if name not in DRAWN_OR_WORDED:
                with torch.device("meta"):
                    parameters = _count(build_fusion(config, token_width(vlm_config), host))
        except SdvlmError as error:
            out.append(FusionCost(name, place, tokens, None, None, None, None, str(error)))
            continue
        extra = {"picture": tokens, "text": WORD_TOKENS * config.prompt_rows * config.prompt_columns}.get(place, 0)
        looks_twice = name in (*ENCODED, "depth_image")
        own = 2.0 * _multiplied(name, parameters, vision) * (patches if place == "tower" else tokens)
        relative = (prefill(extra, 2 if looks_twice else 1) + own) / prefill(0, 1)
        out.append(FusionCost(name, place, tokens, extra, parameters, parameters / _count(model), relative))
    return out


def _multiplied(name: str, parameters: int, vision: int) -> int:
    """Parameters that a fusion multiplies each token with, its encoder (counted as a second look) left out."""
    if name in ENCODED:
        return max(0, parameters - vision)
    return 0 if name == "depth_token" else parameters  # which are looked up


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
