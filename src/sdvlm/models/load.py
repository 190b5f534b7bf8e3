"""From a folder or hub id to a model and its processor, whatever kind of checkpoint lies there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from sdvlm.fusion.config import FusionConfig
from sdvlm.models import checkpoint
from sdvlm.models.config import CONVERSATIONS, DepthVLMConfig
from sdvlm.models.families import load_processor
from sdvlm.models.official import is_official, load_official, official_processor
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

__all__ = ["MODES", "ModelFacts", "configured", "load_from", "model_facts", "pick_device"]

MODES = {"official": "unpadded", "aligned": "boxes"}
"""where depth is pooled: over the un-padded picture as released, or over what each token sees; and the fusion's word"""

_CHAT = "chat"
_OURS = DepthVLMConfig.model_type


def load_from(
    model: str, device: str | None = None, mode: str | None = None, conversation: str | None = None
) -> tuple[DepthVLM, DepthProcessor]:
    """A model that answers, and its processor, ready on a device.

    Args:
        model: a folder or hub id: of a ``DepthVLM``; of a released SD-VLM, in its own layout (merged or adapters); or
            of a plain vision-language model, which then answers without depth.
        device: torch device; default: the first accelerator there is, else the CPU. Weights keep the dtype they are
            stored in, but on the CPU half precision becomes float32.
        mode, conversation: as :func:`configured`.

    Raises:
        SdvlmError: nothing loadable is found there, or the device cannot be used.
    """
    place = pick_device(device)
    vlm: DepthVLM
    there = _is_there(model)
    released = there and is_official(model)
    config = _config(model) if there else {}
    dtype = _dtype(config, place)
    if released:
        vlm, processor = load_official(model, **dtype), official_processor(model)
    elif config.get("model_type") not in (None, DepthVLMConfig.model_type):
        vlm = DepthVLM.from_vlm(model, fusion=None, **dtype)
        processor = DepthProcessor.for_model(vlm, load_processor(model))
    else:
        vlm, processor = DepthVLM.from_pretrained(model, **dtype), DepthProcessor.from_pretrained(model)
    module: Any = vlm
    module.to(place).eval()
    processor.device = str(place)
    return configured(vlm, processor, mode, conversation)


@dataclass(frozen=True)
class ModelFacts:
    """What a model's files say of it, weights unread.

    Args:
        vlm_config: of the vision-language model itself.
        image_processor: its own.
        fusion: settings; None: it takes no depth.
    """

    vlm_config: Any
    image_processor: Any
    fusion: FusionConfig | None


def model_facts(model: str) -> ModelFacts:
    """Config and image processor of what lies in a folder or at a hub id.

    Args:
        model: as :func:`load_from`.

    Raises:
        SdvlmError: there is no model with a processor.
    """
    there = _is_there(model)
    if there and is_official(model):
        processor = official_processor(model)
        return ModelFacts(processor.config.vlm_config, processor.processor.image_processor, processor.fusion)
    with checkpoint.readable_errors(model):
        config = AutoConfig.from_pretrained(model) if _config(model).get("model_type") != _OURS else None
    if config is None:
        ours = DepthProcessor.from_pretrained(model)
        return ModelFacts(ours.config.vlm_config, ours.processor.image_processor, ours.fusion)
    return ModelFacts(config, load_processor(model).image_processor, None)


def configured(
    vlm: DepthVLM, processor: DepthProcessor, mode: str | None, conversation: str | None
) -> tuple[DepthVLM, DepthProcessor]:
    """Model and processor with another pooling of depth or wording of prompts.

    Args:
        vlm, processor: that belong together.
        mode: a key of ``MODES``, for a model with SD-VLM's depth code; None: as the checkpoint says.
        conversation: one of ``CONVERSATIONS``, or ``chat``, the processor's own template; None: as the checkpoint says.

    Raises:
        SdvlmError: there is no such mode or conversation, or the mode is not for this model.
    """
    if mode is None and conversation is None:
        return vlm, processor
    if mode is not None and mode not in MODES:
        raise SdvlmError(f"no mode {mode!r}; choose one of {', '.join(MODES)}")
    if mode is not None and (processor.fusion is None or processor.fusion.coordinate != "sdvlm_compat"):
        raise SdvlmError("the mode is for models with SD-VLM's depth code, and this one has another; leave it out")
    if conversation is not None and conversation not in (*CONVERSATIONS, _CHAT):
        known = ", ".join((*CONVERSATIONS, _CHAT))
        raise SdvlmError(f"no conversation {conversation!r}; choose one of {known}")
    words = {None: "keep", _CHAT: None}.get(conversation, conversation)
    changed = processor.with_options(None if mode is None else MODES[mode], words)
    config: Any = vlm.config
    config.fusion, config.conversation = changed.config.fusion, changed.config.conversation
    return vlm, changed


def pick_device(device: str | None, prefer_cpu: bool = False) -> torch.device:
    """The device of this name, or the one to take where none is named.

    Raises:
        SdvlmError: it cannot be used here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() and not prefer_cpu else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        said = " ".join(str(error).split())
        raise SdvlmError(f"device {device!r} cannot be used here: {said}; try --device cpu") from error


def _is_there(model: str) -> bool:
    """Whether something to load may be at this place: a folder that holds files, or what may be a hub id."""
    folder = Path(model)
    return any(folder.iterdir()) if folder.is_dir() else _may_be_hub_id(model)


def _config(model: str) -> dict[str, Any]:
    """Plain values of config.json; empty for a folder that has none: loading then says what is missing."""
    folder = Path(model)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return {}
    with checkpoint.readable_errors(model):
        values, _ = PreTrainedConfig.get_config_dict(model)
    return dict(values)


def _dtype(config: dict[str, Any], place: torch.device) -> dict[str, Any]:
    """float16, or what is not said, is loaded as float32 to run on a CPU: none is quick at it, and rounding changes
    answers. A released model, imported or not, runs there in float32 whatever its config says."""
    stored = config.get("dtype") or config.get("torch_dtype")
    released = "mm_vision_tower" in config or config.get("conversation") is not None
    exact = released or stored in (None, "float16", torch.float16)
    return {"dtype": torch.float32} if place.type == "cpu" and exact else {}


def _may_be_hub_id(model: str) -> bool:
    """owner/name, unless there is a folder of the owner's name here: then it can only be a mistyped path.

    Raises:
        SdvlmError: it is such a path.
    """
    path = Path(model)
    if path.is_file() or not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return False
    if path.parent.is_dir():
        raise SdvlmError(f"no model folder '{model}', though there is a folder '{path.parent}'; check the name")
    return True
