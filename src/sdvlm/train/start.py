"""The model a run starts from, with the fusion it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sdvlm.fusion.config import FusionConfig
from sdvlm.models import checkpoint
from sdvlm.models.families import load_processor
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.quantize import quantization_config
from sdvlm.models.run_folder import Base, is_run
from sdvlm.models.wrapper import DepthVLM, DepthVLMConfig
from sdvlm.train.config import TrainConfig
from sdvlm.types import SdvlmError

__all__ = ["KEEP", "start_model"]

KEEP = "keep"


def start_model(config: TrainConfig) -> tuple[DepthVLM, DepthProcessor, Base]:
    """Model, processor, and what they were made from.

    Raises:
        SdvlmError: there is no such model, it has no fusion to keep, or it is the outcome of a run with adapters.
    """
    if not config.model:
        raise SdvlmError("no model to start from; give --model with a folder or a hub id, or a recipe that names one")
    if is_run(config.model):
        raise SdvlmError(
            f"'{config.model}' holds adapters of a run; make it a plain folder first: sdvlm merge {config.model} OUT"
        )
    load: dict[str, Any] = {} if config.revision is None else {"revision": config.revision}
    dtype = _dtype(config.dtype)
    ours = checkpoint.read_config(config.model, **load).get("model_type") == DepthVLMConfig.model_type
    if config.quantization == "4bit" and ours:
        raise SdvlmError("quantization 4bit is for plain models; this one has a fusion inside its checkpoint")
    if ours:
        model, processor = _with_depth(config, dtype, load)
    else:
        if config.fusion == KEEP:
            raise SdvlmError(f"'{config.model}' has no fusion to keep; name one, such as dpe")
        if config.quantization == "4bit":
            load["quantization_config"] = quantization_config(config.model, dtype or torch.bfloat16)
        model = DepthVLM.from_vlm(
            config.model, _fusion(config.fusion), dtype=dtype, depth_encoder=config.depth_encoder, **load
        )
        processor = DepthProcessor.for_model(model, load_processor(config.model))
    commit = getattr(model.config.vlm_config, "_commit_hash", None)
    return model, processor, Base(config.model, None if Path(config.model).is_dir() else commit or config.revision)


def _with_depth(
    config: TrainConfig, dtype: torch.dtype | None, load: dict[str, Any]
) -> tuple[DepthVLM, DepthProcessor]:
    """From a checkpoint that is a ``DepthVLM``: its fusion kept, or a new one in its place."""
    loaded = DepthVLM.from_pretrained(config.model, **load, **({} if dtype is None else {"dtype": dtype}))
    processor = DepthProcessor.from_pretrained(config.model)
    if config.fusion == KEEP:
        if loaded.config.fusion is None:
            raise SdvlmError(f"'{config.model}' has no fusion to keep; name one, such as dpe")
        if config.depth_encoder is not None:
            raise SdvlmError("a fusion that is kept has a depth encoder of its own; leave out depth_encoder")
        return loaded, processor
    model = DepthVLM.from_vlm(loaded.vlm, _fusion(config.fusion), depth_encoder=config.depth_encoder)
    model.config.conversation = loaded.config.conversation
    return model, DepthProcessor.for_model(model, processor.processor)


def _fusion(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    try:
        return FusionConfig.from_dict(value)
    except TypeError as error:
        raise SdvlmError(f"the setting fusion holds a value of another kind: {error}") from error


def _dtype(name: str) -> torch.dtype | None:
    """The dtype of a name; ``auto``: float32 without a GPU, as stored with one."""
    if name == "auto":
        return None if torch.cuda.is_available() else torch.float32
    found: torch.dtype = getattr(torch, name)
    return found
