"""Where the vision tower of a model is, and what its patch tokens are.

The same read-out serves the frozen RGB tower and the depth tower made from it, so that their tokens correspond.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.vision_utils import get_vision_window_index

from sdvlm.fusion.inflate import RGB, patch_embedding
from sdvlm.fusion.pixel_layout import is_packed, to_raster
from sdvlm.types import SdvlmError

__all__ = ["find_tower", "patch_features", "tower_path", "vision_children", "window_order_undone"]


def tower_path(model: nn.Module, channels: int = RGB) -> str:
    """Path of the vision tower in a model: the innermost transformers model around its patch embedding.

    Args:
        model: a tower itself (its path is ""), or a model with one inside: a vision-language model, CLIP, a classifier.
        channels: what the tower reads.

    Raises:
        SdvlmError: no patch embedding, several, or none inside a transformers model.
    """
    names = patch_embedding(model, channels).split(".")
    for depth in range(len(names) - 1, -1, -1):
        path = ".".join(names[:depth])
        if isinstance(model.get_submodule(path), PreTrainedModel):
            return path
    raise SdvlmError(f"the patch embedding of {type(model).__name__} is in no vision tower of transformers")


def find_tower(model: nn.Module, channels: int = RGB) -> PreTrainedModel:
    """The vision tower of a model; arguments and errors as for :func:`tower_path`."""
    tower = model.get_submodule(tower_path(model, channels))
    assert isinstance(tower, PreTrainedModel)
    return tower


def vision_children(base_model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a vision-language model (without its head) that are not its language model: tower, projector, ...

    Raises:
        SdvlmError: it is no vision-language model.
    """
    if not hasattr(base_model, "get_image_features"):
        raise SdvlmError(
            f"{type(base_model).__name__} makes no image tokens; give a vision-language model's base model"
        )
    words = base_model.get_input_embeddings()  # type: ignore[operator]
    parts = {
        name: child for name, child in base_model.named_children() if all(part is not words for part in child.modules())
    }
    return parts


def patch_features(
    tower: nn.Module, pixel_values: Tensor, image_grid_thw: Tensor | None = None, layer: int | None = None
) -> Tensor:
    """The tower's patch tokens before any merge or projection, row by row of each picture.

    Args:
        tower: a vision tower of transformers, RGB or depth.
        pixel_values: in the tower's layout (``pixel_layout.lay_out``).
        image_grid_thw: (B, 3) patches of each picture, of packed towers.
        layer: index into the hidden states (-1 is the last block's output); None: what the tower calls its last hidden
            state, norm included where it has one.

    Returns:
        (B, N, Dv), without class and register tokens; (T, Dv) of packed towers, pictures behind each other.

    Raises:
        SdvlmError: a packed tower without its grid, or tokens that are not one a patch.
    """
    config: Any = tower.config
    packed = is_packed(config)
    if packed and image_grid_thw is None:
        raise SdvlmError(f"{type(tower).__name__} packs pictures of any size; give image_grid_thw with the pixels")
    inputs: dict[str, Any] = {"grid_thw": image_grid_thw} if packed else {}
    name = next(iter(inspect.signature(tower.forward).parameters))
    out = tower(**{name: pixel_values}, **inputs, output_hidden_states=layer is not None, return_dict=True)
    states: Tensor = out.last_hidden_state if layer is None else out.hidden_states[layer]
    if packed:
        assert image_grid_thw is not None
        return to_raster(window_order_undone(states, image_grid_thw, config), image_grid_thw, config.spatial_merge_size)
    patch = config.patch_size
    patches = (pixel_values.shape[-2] // patch) * (pixel_values.shape[-1] // patch)
    before = states.shape[1] - patches
    if states.ndim != 3 or before < 0:
        raise SdvlmError(f"{type(tower).__name__} puts out {tuple(states.shape)} for {patches} patches a picture")
    return states[:, before:]


def window_order_undone(rows: Tensor, grid: Tensor, config: Any) -> Tensor:
    """(T, Dv) in merge-block order; towers with window attention (Qwen2.5-VL) compute in the order of their windows."""
    if not getattr(config, "window_size", None):
        return rows
    index, _ = get_vision_window_index(
        grid, spatial_merge_size=config.spatial_merge_size, window_size=config.window_size, patch_size=config.patch_size
    )
    blocks = rows.reshape(len(index), -1, rows.shape[-1])
    return blocks[torch.argsort(index).to(rows.device)].reshape(rows.shape)
