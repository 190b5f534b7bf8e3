"""Where depth enters a model: between its own ``get_image_features`` and its own ``forward``.

``mm_encoder_outputs`` (transformers >= 5.20) takes the image tokens back. Here they are fetched, changed or given
company, and handed over. Nothing inside the model is copied or patched; a side adapter is hooked into the vision tower
while the tokens are fetched, and only then.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.utils.generic import ModelOutput

from sdvlm.fusion.config import ENCODED, FusionConfig
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.models.families import found_family
from sdvlm.types import SdvlmError

__all__ = ["DepthInputs", "check_positions", "fuse", "fused_inputs", "without_depth_slots"]

_GRID, _PIXELS, _FILMS, _DEEP = "image_grid_thw", "pixel_values", "pixel_values_videos", "deepstack_features"
_PER_PICTURE = (_GRID, "image_sizes", "image_position_ids")
"""inputs with one row a picture, beside pixels"""


@dataclass(frozen=True, eq=False)
class DepthInputs:
    """The depth of a batch. P picture slots in the order of the prompts, of which some are taken by depth pictures.

    Args:
        grid: (T, C) float32 packed depth grid of the image tokens of all pictures, depth pictures left out; None: no
            picture has depth.
        pixels: planes of the depth maps of the same pictures, laid out as the tower reads them; None: not needed.
        pictures: (P,) bool, True for a slot that holds depth tokens; None: there is none.
        image_keep: (T,) bool, False for an image token whose picture content is hidden: it becomes the mean of its
            picture's tokens, so that only depth tells it from the others; None: all are kept.
        videos: (V, C) float32 packed depth grid of the tokens of all videos; None: no frame has depth.
    """

    grid: Tensor | None
    pixels: Tensor | None = None
    pictures: Tensor | None = None
    image_keep: Tensor | None = None
    videos: Tensor | None = None


def fused_inputs(
    vlm: Any, fusion: Any, config: FusionConfig, inputs: dict[str, Any], depth: DepthInputs
) -> dict[str, Any]:
    """The model's inputs with pixels replaced by its own features of pictures and videos, depth in them.

    Args:
        vlm: the vision-language model.
        fusion: its fusion module.
        config: of the fusion.
        inputs: of ``vlm``: ``pixel_values`` of the pictures without depth pictures, other inputs of all slots.
        depth: of the pictures.

    Raises:
        SdvlmError: depth and pictures do not belong together.
    """
    for what, pixels, grid in (("pictures", _PIXELS, depth.grid), ("videos", _FILMS, depth.videos)):
        if grid is not None and inputs.get(pixels) is None:
            raise SdvlmError(f"got depth without {pixels}; give the {what} the depth belongs to")
    host = vlm.base_model
    encoded = {}
    if inputs.get(_PIXELS) is not None:
        encoded["image"] = _fused_pictures(vlm, fusion, config, inputs, depth)
    if inputs.get(_FILMS) is not None:  # a model takes all its pixels encoded, or none
        features = _video_features(host, inputs)
        given = DepthInputs(depth.videos)
        encoded["video"] = features if depth.videos is None else fuse(host, fusion, config, features, given)
    rest = {name: value for name, value in inputs.items() if name not in (_PIXELS, _FILMS)}
    return rest | {"mm_encoder_outputs": encoded}


def _fused_pictures(
    vlm: Any, fusion: Any, config: FusionConfig, inputs: dict[str, Any], depth: DepthInputs
) -> ModelOutput:
    """The image features of all pictures, depth in them. Arguments as :func:`fused_inputs`."""
    host = vlm.base_model
    shown = _wanted(host.get_image_features, _own_pictures(inputs, depth.pictures))
    if depth.grid is None:
        return host.get_image_features(**shown, return_dict=True)  # type: ignore[no-any-return]
    seen = None
    if depth.pixels is not None:
        precision = torch.float32 if config.in_tower else vlm.dtype  # what enters the tower reads depth in full
        seen = shown | {_PIXELS: depth.pixels.to(device=vlm.device, dtype=precision)}
    elif config.channels is not None:
        raise SdvlmError(f"the fusion '{config.name}' reads depth_pixels; pass on all the processor made")
    with _inside(fusion, config, host, seen):
        features = host.get_image_features(**shown, return_dict=True)
    return fuse(host, fusion, config, features, depth, seen)


def _video_features(host: Any, inputs: dict[str, Any]) -> Any:
    """The model's own features of its videos."""
    if not hasattr(host, "get_video_features"):  # Perception LM: frames are pictures that come by another name
        return host.get_image_features(pixel_values=inputs[_FILMS], return_dict=True)
    return host.get_video_features(**_wanted(host.get_video_features, inputs), return_dict=True)


def _wanted(function: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that a function takes, those that are there."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in inputs.items() if name in names and value is not None}


def fuse(
    host: Any,
    fusion: Any,
    config: FusionConfig,
    features: ModelOutput,
    depth: DepthInputs,
    seen: dict[str, Any] | None = None,
) -> ModelOutput:
    """Depth into the output of ``get_image_features``: a new output of the same class, all other fields kept.

    The field that reaches the language model takes depth; deeper feature levels (deep stack), where there are any, take
    it in the same way where the fusion's settings say ``deep``, and else stay as they are.

    Args:
        host: the model without its head.
        fusion, config, depth: as :func:`fused_inputs`.
        features: of the pictures, depth pictures left out.
        seen: the inputs of ``get_image_features`` with depth for pixels, for fusions that read pixels.
    """
    assert depth.grid is not None
    if depth.grid.dtype != torch.float32:
        raise SdvlmError(
            f"the depth grid is {depth.grid.dtype} but must stay float32, or metres get lost; "
            "move the batch with .to(device) and cast the model instead"
        )
    family = found_family(host.config)
    field = "pooler_output" if family is None else family.tokens
    if family is not None and not family.per_picture and config.per_picture:
        raise SdvlmError(
            f"'{host.config.model_type}' puts out its tokens tile by tile, and the coordinate '{config.coordinate}' is "
            "counted over a whole picture; use the coordinate 'log_metric'"
        )
    pictures = features[field]
    lengths = [len(tokens) for tokens in pictures]
    if depth.image_keep is not None:
        pictures = _hidden(pictures, depth.image_keep.split(lengths))
    tokens = torch.cat(list(pictures))  # [T, D]
    grid = DepthGrid.unpack(depth.grid.to(tokens.device), _image_index(lengths, tokens.device))
    if config.place == "tower":
        return features
    given = (fusion.encode(host, seen),) if config.name in ENCODED else ()
    new = fusion(tokens, grid, *given)
    made = (new + tokens if config.place == "picture" and config.paired else new).split(lengths)
    changed = {field: _as(pictures, made)}
    if config.place == "picture":
        changed = {field: _as(pictures, _behind(features, pictures, made, depth.pictures))}
    if config.deep:
        changed[_DEEP] = [
            _as(level, fusion(torch.cat(list(level)), grid, *given).split(lengths)) for level in _levels(features)
        ]
    return type(features)(**{**features, **changed})


def _as(like: Any, parts: Any) -> Any:
    """Tokens of each picture in the form they came in: a tensor, a list or a tuple."""
    return torch.stack(list(parts)) if isinstance(like, Tensor) else type(like)(parts)


def _levels(features: ModelOutput) -> list[Any]:
    """Deeper feature levels, each with the tokens of all pictures.

    Raises:
        SdvlmError: there are none.
    """
    levels = getattr(features, _DEEP, None)
    if levels is None:
        raise SdvlmError(f"{type(features).__name__} has no deeper feature levels; make the fusion with deep=False")
    return list(levels)


def check_positions(vlm: Any, inputs: Mapping[str, Any]) -> None:
    """Without its grids and token types a three-axis model silently uses wrong positions (5.23): refuse.

    Raises:
        SdvlmError: one of them is missing.
    """
    if inputs.get("position_ids") is not None:
        return
    encoded = inputs.get("mm_encoder_outputs")
    for kind, pixels, grid in (("image", _PIXELS, _GRID), ("video", _FILMS, "video_grid_thw")):
        comes = isinstance(encoded, Mapping) and encoded.get(kind) is not None
        if inputs.get(pixels) is None and not comes:  # as in every step of decoding, which must cost nothing
            continue
        accepted = inspect.signature(vlm.forward).parameters
        for name in (grid, "mm_token_type_ids") if grid in accepted else ():
            if name in accepted and inputs.get(name) is None:
                what = "pictures" if kind == "image" else "videos"
                raise SdvlmError(f"{type(vlm).__name__} got {what} without {name}; pass on all the processor made")


def without_depth_slots(batch: Mapping[str, Any], depth_pictures: list[bool]) -> Tensor:
    """The pixels of a batch made for all slots, without those of depth pictures, which have no pixels of their own."""
    keep = ~torch.tensor(depth_pictures)
    pixels: Tensor = batch[_PIXELS]
    if _GRID in batch:
        parts = pixels.split(batch[_GRID].prod(dim=-1).tolist())
        return torch.cat([part for part, kept in zip(parts, keep.tolist(), strict=True) if kept])
    return pixels[keep]


def _own_pictures(inputs: dict[str, Any], depth_pictures: Tensor | None) -> dict[str, Any]:
    """The inputs with rows of depth pictures left out."""
    present = {name: value for name, value in inputs.items() if value is not None}
    if depth_pictures is None:
        return present
    return present | {name: present[name][~depth_pictures] for name in _PER_PICTURE if name in present}


def _hidden(pictures: Any, keep: tuple[Tensor, ...]) -> Any:
    """The tokens of each picture with those not kept as their mean."""
    made = [torch.where(kept[:, None], one, one.mean(dim=0)) for one, kept in zip(pictures, keep, strict=True)]
    return torch.stack(made) if isinstance(pictures, Tensor) else type(pictures)(made)


def _image_index(lengths: list[int], device: torch.device) -> Tensor:
    """(T,) long: the picture of each token."""
    repeats = torch.tensor(lengths, device=device)
    return torch.arange(len(lengths), device=device).repeat_interleave(repeats, output_size=sum(lengths))


def _inside(fusion: Any, config: FusionConfig, host: Any, seen: dict[str, Any] | None) -> AbstractContextManager[Any]:
    """Depth at work in the tower; nothing for fusions that leave it alone."""
    if not config.in_tower:
        return nullcontext()
    assert seen is not None
    return fusion.inside(host, seen, _has_depth(seen))  # type: ignore[no-any-return]


def _has_depth(seen: dict[str, Any]) -> Tensor:
    """(P,) bool: pictures with any depth; the planes of the others are zero throughout."""
    pixels = seen[_PIXELS]
    parts = pixels.split(seen[_GRID].prod(dim=-1).tolist()) if _GRID in seen else pixels
    return torch.stack([part.any() for part in parts])


def _behind(features: ModelOutput, pictures: Any, made: Any, depth_pictures: Tensor | None) -> tuple[Tensor, ...]:
    """Image tokens and depth tokens in the order of the slots."""
    if depth_pictures is None:
        raise SdvlmError(
            "this fusion puts depth behind each picture, and the batch has no room for it: no depth_pictures"
        )
    if getattr(features, _DEEP, None) is not None:
        raise SdvlmError(
            f"{type(features).__name__} has deeper feature levels, where a depth picture would have none; "
            "choose a fusion that adds to the image tokens"
        )
    slots: list[Tensor] = []
    own = -1
    for is_depth in depth_pictures.tolist():
        own += not is_depth
        slots.append(made[own] if is_depth else pictures[own])
    return tuple(slots)
