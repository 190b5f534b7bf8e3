"""A model of any family with random weights, wide enough to be timed on a CPU, and inputs made without a tokenizer."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, PreTrainedConfig

from sdvlm.models.families.published import PUBLISHED
from sdvlm.models.grid import TokenGrid

__all__ = ["RandomModel", "random_family"]

_VOCABULARY = 4096
_IMAGE = _VOCABULARY - 1
_TEXT_TOKENS = 16
"""before the picture, and as many behind it"""
_HEADS = 4
_SHARED = {"num_attention_heads": _HEADS, "num_heads": _HEADS, "num_key_value_heads": _HEADS}
_TOWER = {
    "hidden_size": 256,
    "embed_dim": 256,
    "intermediate_size": 1024,
    "head_dim": 64,
    "vocab_size": 1024,
    **_SHARED,
}
_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 256}


@dataclass(frozen=True)
class RandomModel:
    """Something to time.

    Args:
        vlm: the bare model.
        inputs: of its ``forward``, for one prompt with one picture.
        shown: those of them that ``get_image_features`` takes.
        grid: where its image tokens look.
        tokens: how many there are.
    """

    vlm: Any
    inputs: dict[str, Any]
    shown: tuple[str, ...]
    grid: TokenGrid
    tokens: int


def random_family(model_type: str, size: tuple[int, int], hidden: int, layers: int) -> RandomModel:
    """A small model of a family, as wide as asked for, with the tower's layers as many as the language model's.

    Args:
        model_type: of the family, a key of ``PUBLISHED``.
        size: (width, height) of the picture, in pixels.
        hidden: width of the language model, a multiple of 512 (rotary positions are cut for heads 128 wide).
        layers: of the language model.
    """
    config, image_processor = PUBLISHED[model_type][1](True)
    _shrink(config, hidden, layers)
    torch.manual_seed(0)
    vlm = AutoModelForImageTextToText.from_config(config, dtype=torch.float32).eval()
    grid = TokenGrid(vlm.config, image_processor)
    shown = grid.family.inputs(vlm.config, grid.views(size))
    shown["pixel_values"] = torch.randn(shown["pixel_values"].shape)
    tokens = len(grid.boxes(size))
    text = torch.randint(100, _VOCABULARY // 2, (2, _TEXT_TOKENS))
    ids = torch.cat([text[0], torch.full((tokens,), _IMAGE), text[1]])[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": True, "logits_to_keep": 1}
    inputs |= {name: (ids == _IMAGE).long() for name in ("mm_token_type_ids", "token_type_ids")}
    taken = inspect.signature(vlm.forward).parameters
    inputs = {name: one for name, one in inputs.items() if name in taken}
    return RandomModel(vlm, inputs | shown, tuple(shown), grid, tokens)


def _shrink(config: Any, hidden: int, layers: int) -> None:
    """Sizes that a CPU runs, under the names that configs have for them."""
    text, tower = config.get_text_config(), config.vision_config
    width = {"hidden_size": hidden, "intermediate_size": 11 * hidden // 4, "head_dim": hidden // _HEADS}
    _set(text, {**width, **_SHARED, **_EXPERTS, "vocab_size": _VOCABULARY, "pad_token_id": 0})
    _set(
        text, {"num_hidden_layers": layers, "layer_types": (getattr(text, "layer_types", None) or [])[-layers:] or None}
    )
    _set(tower, {**_TOWER, "num_hidden_layers": layers, "depth": layers})
    _set(tower, {"out_hidden_size": hidden, "projection_dim": hidden, "deepstack_visual_indexes": [0]})
    if hasattr(tower, "embed_dim"):  # beside which the hidden size is what the tower hands on
        tower.hidden_size = hidden
    _set(config, {"hidden_size": hidden, "vocab_size": _VOCABULARY, "projection_dim": hidden})
    config.image_token_id = _IMAGE
    if isinstance(read := getattr(config, "vision_feature_layers", None), list | tuple):
        config.vision_feature_layers = [max(-layers, -1 - at) for at in range(len(read))]


def _set(config: PreTrainedConfig, values: dict[str, Any]) -> None:
    for name in values.keys() & vars(config).keys():
        setattr(config, name, values[name])
