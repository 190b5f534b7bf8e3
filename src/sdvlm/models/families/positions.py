"""What the language model's positions and attention of a family are like."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

__all__ = ["attends_both_ways", "position_axes", "position_offset"]

_PREFIX_MODELS = frozenset({"paligemma"})


def attends_both_ways(config: PreTrainedConfig) -> bool:
    """Whether all of a prompt attends to all of it (prefix-LM: PaliGemma, arXiv 2407.07726, section 3.2.1).

    What such a model makes of the picture depends on the question behind it, so that no two prompts share anything.
    """
    return config.model_type in _PREFIX_MODELS


def position_axes(config: PreTrainedConfig) -> int:
    """Axes of the language model's rotary positions: 3 (time, height, width) for multimodal RoPE, else 1."""
    rope = getattr(config.get_text_config(), "rope_parameters", None) or {}
    return 3 if "mrope_section" in rope else 1


def position_offset(vlm: Any, inputs: Mapping[str, Any]) -> int:
    """How far the language model's positions after a single prompt are ahead of its token count.

    With three-axis positions a picture takes fewer steps than it has tokens, so this is negative there, else 0.
    """
    if position_axes(vlm.config) == 1:
        return 0
    place = vlm.base_model.get_rope_index
    _, ahead = place(**{name: inputs[name] for name in inspect.signature(place).parameters if name in inputs})
    return int(ahead.flatten()[0])
