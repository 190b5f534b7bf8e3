"""The layers of a vision tower, and which of their tokens looks at which patch of which picture.

Found by what a tower has, not by its family's name: its layers are the longest list of like blocks that attend. Tokens
are a batch of equal pictures, class and register tokens first, or all pictures packed into one row, in merge blocks,
some towers in windows of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.fusion.pixel_layout import to_raster
from sdvlm.fusion.towers import find_tower, window_order_undone
from sdvlm.types import SdvlmError

__all__ = [
    "layers_read",
    "patch_side",
    "pictures_of",
    "token_rows",
    "tower_layers",
    "tower_width",
]


def tower_layers(base_model: nn.Module) -> nn.ModuleList:
    """The tower's transformer layers in order.

    Raises:
        SdvlmError: the tower has no list of like attention blocks, or several of equal length.
    """
    tower = find_tower(base_model)
    stacks = [module for module in tower.modules() if isinstance(module, nn.ModuleList) and _attends(module)]
    longest = max(map(len, stacks), default=0)
    found = [stack for stack in stacks if len(stack) == longest]
    if len(found) != 1:
        seen = "no list of like attention blocks" if not found else f"{len(found)} lists of {longest} attention blocks"
        raise SdvlmError(
            f"{type(tower).__name__} has {seen}; side adapters want a plain transformer tower; use another fusion"
        )
    return found[0]


def layers_read(base_model: nn.Module) -> int:
    """How many layers, from the first, the image tokens depend on: some models read the tower before its end."""
    total = len(tower_layers(base_model))
    config: Any = base_model.config
    chosen = getattr(config, "vision_feature_layer", None)
    chosen = getattr(config, "vision_feature_layers", None) if chosen is None else chosen
    if chosen is None:
        return total
    states = [chosen] if isinstance(chosen, int) else list(chosen)
    return max(state if state >= 0 else total + 1 + state for state in states)  # state i is what layer i takes in


def tower_width(base_model: nn.Module) -> int:
    """Channels of the tower's tokens. Where a config has both, ``hidden_size`` is that behind the merger (Qwen2-VL)."""
    config: Any = find_tower(base_model).config
    width = getattr(config, "embed_dim", None) or getattr(config, "hidden_size", None)
    if not isinstance(width, int):
        raise SdvlmError(f"a {type(config).__name__} has not one width; side adapters want a plain transformer tower")
    return width


def patch_side(base_model: nn.Module) -> int:
    """Pixels along a side of the tower's patches.

    Raises:
        SdvlmError: patches are not square.
    """
    side: Any = find_tower(base_model).config.patch_size
    sides = {side} if isinstance(side, int) else set(side)
    if len(sides) != 1:
        raise SdvlmError(f"side adapters want square patches; this tower's are {side}")
    return int(sides.pop())


def pictures_of(base_model: nn.Module, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Each picture's planes (C, H, W) back from the tower's layout (``fusion.pixel_layout``).

    Raises:
        SdvlmError: the layout is none of those known.
    """
    pixels, patch = inputs["pixel_values"], patch_side(base_model)
    if "image_grid_thw" not in inputs:
        if pixels.ndim != 4:
            raise SdvlmError(
                f"side adapters want pictures as (B, C, H, W) or as packed patches; "
                f"got pixels of shape {tuple(pixels.shape)}; use a fusion of the tokens"
            )
        return list(pixels)
    config: Any = find_tower(base_model).config
    grids = _grids(inputs["image_grid_thw"])
    raster = to_raster(pixels, inputs["image_grid_thw"], config.spatial_merge_size)
    pictures = []
    for (height, width), patches in zip(grids, raster.split([h * w for h, w in grids]), strict=True):
        cut = patches.reshape(height, width, -1, config.temporal_patch_size, patch, patch)
        still = cut[:, :, :, 0].permute(2, 0, 3, 1, 4)  # of a still picture all frames are alike; [C, h, p, w, p]
        pictures.append(still.reshape(-1, height * patch, width * patch))
    return pictures


def token_rows(base_model: nn.Module, inputs: Mapping[str, Tensor], shape: torch.Size) -> list[Tensor]:
    """Which tokens of a layer look at the patches of each picture.

    Args:
        base_model: the vision-language model without its head.
        inputs: ``pixel_values`` and, where the tower is packed, ``image_grid_thw``.
        shape: of the tokens a layer takes in, (B, S, D) or (T, D).

    Returns:
        One (rows, columns) long tensor a picture, in raster order: indices into the tokens flattened to (-1, D).

    Raises:
        SdvlmError: the tokens do not match the pictures, or are in an order that is not known.
    """
    tower = find_tower(base_model)
    config: Any = tower.config
    if "image_grid_thw" not in inputs:
        return _batched_rows(tower, config, inputs["pixel_values"].shape, patch_side(base_model), shape)
    grids = _grids(inputs["image_grid_thw"])
    total = sum(height * width for height, width in grids)
    if tuple(shape[:-1]) != (total,):
        raise _mismatch(tower, shape, f"({total}, D) for pictures of {grids} patches")
    if getattr(config, "window_size", None) and not hasattr(tower, "permute_input_for_window_attn"):
        raise SdvlmError(
            f"{type(tower).__name__} attends in windows and does not say in which order its tokens stand; "
            "use a fusion of the tokens"
        )
    standing = window_order_undone(torch.arange(total)[:, None], inputs["image_grid_thw"].cpu(), config)
    raster = to_raster(standing.flatten(), inputs["image_grid_thw"], config.spatial_merge_size)
    return [part.view(size) for part, size in zip(raster.split([h * w for h, w in grids]), grids, strict=True)]


def _batched_rows(tower: nn.Module, config: Any, pixels: torch.Size, patch: int, shape: torch.Size) -> list[Tensor]:
    pictures, height, width = pixels[0], pixels[-2] // patch, pixels[-1] // patch
    extra = shape[1] - height * width if len(shape) == 3 else -1
    if shape[0] != pictures or not 0 <= extra <= 1 + (getattr(config, "num_register_tokens", None) or 0):
        raise _mismatch(tower, shape, f"({pictures}, {height * width} and class tokens, D)")
    rows = torch.arange(pictures * shape[1]).view(pictures, shape[1])[:, extra:]
    return list(rows.reshape(pictures, height, width))


def _grids(grid_thw: Tensor) -> list[tuple[int, int]]:
    grids = grid_thw.tolist()
    if any(frames != 1 for frames, _, _ in grids):
        raise SdvlmError("side adapters take still pictures; got a video of several frames")
    return [(int(height), int(width)) for _, height, width in grids]


def _attends(stack: nn.ModuleList) -> bool:
    kinds = {type(block) for block in stack}
    return len(kinds) == 1 and any("Attention" in type(module).__name__ for module in stack[0].modules())


def _mismatch(tower: nn.Module, shape: torch.Size, wanted: str) -> SdvlmError:
    return SdvlmError(
        f"the layers of {type(tower).__name__} take tokens of shape {tuple(shape)}; side adapters want {wanted}; "
        "give the depth of exactly these pictures, or use a fusion of the tokens"
    )
