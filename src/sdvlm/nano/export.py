"""Trained weights to a checkpoint folder like any other."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig, build_processor, build_vlm

__all__ = ["export_checkpoint"]


def export_checkpoint(
    weights: Path, tokenizer_file: Path, out: Path, config: NanoConfig, dtype: torch.dtype = torch.float16
) -> None:
    """Write ``DepthVLM`` and ``DepthProcessor`` files to ``out``.

    Args:
        weights: what ``nano.train`` wrote, keys under ``vlm.`` and ``fusion.``; read-outs stay behind.
        tokenizer_file: the trained tokenizer.
        config: sizes the weights were trained with.
        dtype: the weights are stored in; half precision halves the download and costs nothing measurable.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    model = DepthVLM.from_vlm(build_vlm(config, tokenizer), config.fusion)
    kept = ("vlm.", "fusion.")
    trained = {name: value for name, value in load_file(weights).items() if name.startswith(kept)}
    missing, unexpected = model.load_state_dict(trained, strict=False)
    if unexpected or [name for name in missing if name != "vlm.lm_head.weight"]:
        raise ValueError(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    model.vlm.tie_weights()
    module: torch.nn.Module = model
    module.to(dtype)
    model.save_pretrained(out)
    DepthProcessor.for_model(model, build_processor(config, tokenizer)).save_pretrained(out)
    (out / "nano.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
