"""Official checkpoints as a ``DepthVLM`` and a depth estimator: built empty, then filled one tensor at a time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from typing import Any

import torch
from torch import nn
from transformers import DepthAnythingForDepthEstimation, GenerationConfig, LlavaForConditionalGeneration

from sdvlm.depth.hf import HFDepthEstimator
from sdvlm.depth.positions import follow_offset
from sdvlm.fusion.config import FusionConfig
from sdvlm.models.checkpoint import HUB
from sdvlm.models.config import DepthVLMConfig
from sdvlm.models.official.depth_network import depth_preprocessing
from sdvlm.models.official.layout import OfficialFolder, open_official, read_json
from sdvlm.models.official.plan import Move, Plan, make_plan
from sdvlm.models.official.tokenizer import image_token_id
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthKind, SdvlmError

__all__ = [
    "DEPTH_FOLDER",
    "depth_of",
    "depth_vlm_config",
    "generation_settings",
    "load_official",
    "load_official_depth",
]

DEPTH_FOLDER = "depth"
"""sub-folder that the depth network of an imported checkpoint lies in"""

_log = logging.getLogger(__name__)
_PRESETS = {"unpadded": "sdvlm_official", "boxes": "sdvlm"}
_SAMPLING = ("temperature", "top_p", "top_k")


def load_official(
    folder_or_id: str | PathLike[str],
    dtype: torch.dtype | str | None = None,
    pooling: str = "unpadded",
    *,
    sine_dtype: str = "float32",
    base: str | PathLike[str] | None = None,
    **load: Any,
) -> DepthVLM:
    """The vision-language model of an official checkpoint, on the CPU, in eval mode.

    Memory is that of the loaded weights and one tensor.

    Args:
        folder_or_id: a merged checkpoint or an adapter folder.
        dtype: of the weights, or ``"auto"``; None and auto: the checkpoint's own (of the token embeddings).
        pooling: ``"unpadded"`` as released, or ``"boxes"``, which puts each depth where the token looks.
        sine_dtype: ``"float16"`` gives the depth code the rounding of a released half-precision run.
        base: what an adapter belongs to; None: what it names itself.
        load: revision, token, cache_dir, local_files_only; ``attn_implementation`` as in transformers, and its
            ``torch_dtype`` for ``dtype``.

    Raises:
        SdvlmError: no official checkpoint, or tensors missing, left over, misshapen or damaged, all listed.
    """
    dtype = load.pop("torch_dtype", dtype)
    unknown = sorted(set(load) - {*HUB, "attn_implementation"})
    if unknown:
        raise SdvlmError(
            f"official checkpoints take no {', '.join(unknown)}; load, then .to(device), or import them first"
        )
    hub = {name: value for name, value in load.items() if name in HUB}
    official = open_official(folder_or_id, base, **hub)
    plan = make_plan(official, **hub)
    for note in plan.notes:
        _log.warning("%s: %s", official.folder.name, note)
    config = depth_vlm_config(official, plan, pooling, sine_dtype)
    wanted = _dtype(dtype, plan)
    with torch.device("meta"):
        vlm = LlavaForConditionalGeneration(plan.vlm_config)
    _fill(vlm, plan.vlm, wanted)
    _compute_buffers(vlm)
    vlm.generation_config = GenerationConfig(**generation_settings(official))
    vlm.config.dtype = wanted
    if "attn_implementation" in load:
        vlm.set_attn_implementation(load["attn_implementation"])
    model = DepthVLM.from_vlm(vlm, config.fusion_settings)
    made: Any = model.config
    made.estimator, made.conversation, made.dtype = config.estimator, config.conversation, wanted
    return model.eval()  # type: ignore[no-any-return]


def load_official_depth(
    folder_or_id: str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    device: str | None = None,
    dtype: torch.dtype = torch.float32,
    **hub: Any,
) -> HFDepthEstimator:
    """The depth network of an official checkpoint as an estimator of disparity.

    Args:
        folder_or_id, base: as :func:`load_official`.
        device: torch device; default: the first accelerator there is, else the CPU.
        dtype: of its weights; the released code uses float16, whose maps are up to 0.13 of 100 away.
        hub: revision, token, cache_dir, local_files_only.

    Raises:
        SdvlmError: as :func:`load_official`, or the checkpoint has no depth network.
    """
    official = open_official(folder_or_id, base, **hub)
    return depth_of(official, make_plan(official, **hub), device, dtype)


def depth_of(
    official: OfficialFolder, plan: Plan, device: str | None = None, dtype: torch.dtype = torch.float32
) -> HFDepthEstimator:
    """As :func:`load_official_depth`, of what is open already."""
    if plan.depth_config is None:
        raise SdvlmError(f"{official.folder} has no depth network (no tensor depth.*)")
    with torch.device("meta"):
        model = DepthAnythingForDepthEstimation(plan.depth_config)
    digest = _fill(model, plan.depth, dtype)
    follow_offset(model)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return HFDepthEstimator(
        model=model.eval().to(place),
        processor=depth_preprocessing(plan.depth_config, official.told_depth),
        id=f"{official.folder.name}/{DEPTH_FOLDER}",
        kind=DepthKind.DISPARITY,
        licence="unknown",
        source=str(official.folder),
        commit=digest,
    )


def depth_vlm_config(official: OfficialFolder, plan: Plan, pooling: str, sine_dtype: str = "float32") -> DepthVLMConfig:
    """The config of the whole; sets the image token of ``plan.vlm_config``.

    Where the official config says that depth is not used, there is no fusion.

    Raises:
        SdvlmError: there is no such pooling or dtype, or the tokenizer has no token left for pictures.
    """
    if pooling not in _PRESETS:
        raise SdvlmError(f"no pooling '{pooling}'; choose one of {', '.join(_PRESETS)}")
    plan.vlm_config.image_token_index = image_token_id(official)
    uses = bool(official.config.get("use_depth", False))
    config = DepthVLMConfig(
        fusion=replace(FusionConfig.preset(_PRESETS[pooling]), sine_dtype=sine_dtype).to_dict() if uses else None,
        estimator=DEPTH_FOLDER if uses and plan.depth_config is not None else None,
        conversation="vicuna_v1",
    )
    config.vlm_config = plan.vlm_config
    return config


def generation_settings(official: OfficialFolder) -> dict[str, Any]:
    """Of ``generation_config.json``, without the sampling settings of a config that does not sample."""
    file = official.beside("generation_config.json")
    found = (None if file is None else read_json(file)) or {}
    ids = {name: official.config.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    settings = {**ids, **{k: v for k, v in found.items() if k != "transformers_version"}}
    if not settings.get("do_sample"):
        settings = {name: value for name, value in settings.items() if name not in _SAMPLING}
    return {name: value for name, value in settings.items() if value is not None}


def _dtype(wanted: torch.dtype | str | None, plan: Plan) -> torch.dtype:
    if isinstance(wanted, torch.dtype):
        return wanted
    if wanted in (None, "auto"):
        return next(move.dtype for move in plan.vlm if move.target.endswith("embed_tokens.weight"))
    named = getattr(torch, str(wanted), None)
    if not isinstance(named, torch.dtype):
        raise SdvlmError(f"no dtype '{wanted}'; wanted auto, float32, float16 or bfloat16")
    return named


def _fill(model: nn.Module, moves: Iterable[Move], dtype: torch.dtype) -> str:
    """Give each parameter its tensor, in memory of its own; a digest of all that was read."""
    digest = hashlib.blake2b(digest_size=16)
    for move in moves:
        found = move.read().contiguous()
        digest.update(move.name.encode())
        digest.update(found.view(torch.uint8).numpy().data)
        own = torch.empty(found.shape, dtype=dtype)
        own.copy_(found)
        del found  # it may hold a whole file mapped
        parent, _, leaf = move.target.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Parameter(own))
    return digest.hexdigest()


def _compute_buffers(vlm: Any) -> None:
    """What no checkpoint holds and the config says: rotary frequencies and CLIP's position numbers."""
    inner = vlm.model
    inner.language_model.rotary_emb = type(inner.language_model.rotary_emb)(vlm.config.text_config)
    embeddings = inner.vision_tower.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions).expand((1, -1))
    empty = [name for part in (vlm.named_parameters(), vlm.named_buffers()) for name, one in part if one.is_meta]
    if empty:
        raise SdvlmError(f"this release of transformers has tensors that nothing fills: {', '.join(empty[:5])}")
