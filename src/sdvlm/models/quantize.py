"""A base in 4 bits to put adapters on: the language model's linear layers in NF4, everything else as it is.

QLoRA: arXiv 2305.14314, section 3 (NF4, double quantization). What reads pictures and depth stays in 16 bit, as does
the head of the language model.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig

from sdvlm.extras import require
from sdvlm.models import checkpoint
from sdvlm.models.adapters import language_model
from sdvlm.models.config import DepthVLMConfig

__all__ = ["quantization_config", "unquantized"]


def quantization_config(
    model: PreTrainedConfig | str | PathLike[str], compute_dtype: torch.dtype = torch.bfloat16, **hub: Any
) -> Any:
    """What ``DepthVLM.from_vlm``, ``DepthVLM.from_pretrained`` and ``load_run`` take as ``quantization_config``.

    Args:
        model: config, folder or hub id of a plain vision-language model, or of one with depth.
        compute_dtype: of the products with weights that are unpacked as they are used.
        hub: where on a hub it lies: revision, token, ...

    Returns:
        a ``BitsAndBytesConfig``.

    Raises:
        SdvlmError: bitsandbytes is not installed, there is no such model, or it has no language model of its own.
    """
    require("bitsandbytes", "a base in 4 bits")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**settings(model, compute_dtype, **hub))


def settings(model: PreTrainedConfig | str | PathLike[str], compute_dtype: torch.dtype, **hub: Any) -> dict[str, Any]:
    """The arguments of ``BitsAndBytesConfig``; those of this function as of :func:`quantization_config`."""
    config = model
    if not isinstance(config, PreTrainedConfig):
        ours = checkpoint.read_config(config, **hub).get("model_type") == DepthVLMConfig.model_type
        with checkpoint.readable_errors(config):
            config = (DepthVLMConfig if ours else AutoConfig).from_pretrained(config, **hub)
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": compute_dtype,
        "llm_int8_skip_modules": unquantized(config),
    }


def unquantized(config: PreTrainedConfig) -> list[str]:
    """Paths of the modules that keep their precision: all with linear layers outside the language model.

    Args:
        config: of a plain vision-language model, or of one with depth.
    """
    with_depth = isinstance(config, DepthVLMConfig)
    with torch.device("meta"):
        vlm: Any = AutoModelForImageTextToText.from_config(config.vlm_config if with_depth else config)
    inside = language_model(vlm)
    outer = inside.rpartition(".")[0]  # what stands beside the language model stays whole, whatever is in it
    kept: dict[str, None] = {}
    for name, module in vlm.named_modules():
        if isinstance(module, nn.Linear) and not name.startswith(f"{inside}."):
            below = name.removeprefix(f"{outer}.") if name.startswith(f"{outer}.") else ""
            kept[f"{outer}.{below.split('.')[0]}" if below else name.split(".")[0]] = None
    return [f"vlm.{name}" for name in kept] + ["fusion"] if with_depth else list(kept)
