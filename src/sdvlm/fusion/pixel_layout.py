"""Planes of the processed size to the input a vision tower takes, in the layout its own pictures come in.

Recognised by what the tower's config states, not by the name of its family: a batch of pictures, or patches flattened
and packed behind each other as Qwen2-VL's processor does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdvlm.types import SdvlmError

__all__ = ["is_packed", "lay_out", "to_raster"]


def is_packed(vision_config: Any) -> bool:
    """Whether the tower takes flattened patches of pictures of any size, packed into one sequence."""
    return hasattr(vision_config, "spatial_merge_size") and hasattr(vision_config, "temporal_patch_size")


def lay_out(planes: Sequence[Tensor], vision_config: Any) -> dict[str, Tensor]:
    """Arguments of the tower (and of a host's ``get_image_features``) for one (C, H, W) tensor a picture.

    Args:
        planes: of the processed size of each picture, values as the patch embedding is to read them.
        vision_config: config of the vision tower.

    Returns:
        ``pixel_values`` (B, C, H, W); or, for packed towers, (patches, C * frames * patch * patch) with
        ``image_grid_thw`` (B, 3): frames, rows and columns of patches. Patches come merge block by merge block.

    Raises:
        SdvlmError: no planes, planes of several sizes for a tower that takes a batch, or a size that is not a whole
            number of merge blocks.
    """
    if not planes or any(one.ndim != 3 or one.shape[0] != planes[0].shape[0] for one in planes):
        raise SdvlmError("a tower's input is laid out from (channels, height, width) planes, equally many a picture")
    if is_packed(vision_config):
        packed = [_patches(one, vision_config) for one in planes]
        grids = torch.tensor([_grid(one, vision_config) for one in planes])
        return {"pixel_values": torch.cat(packed), "image_grid_thw": grids}
    if len({one.shape for one in planes}) > 1:
        sizes = ", ".join(sorted({f"{one.shape[2]}x{one.shape[1]}" for one in planes}))
        raise SdvlmError(f"this tower takes pictures of one size, got {sizes}; give its image processor a fixed size")
    return {"pixel_values": torch.stack(list(planes))}


def to_raster(rows: Tensor, image_grid_thw: Tensor, merge: int) -> Tensor:
    """(T, ...) rows of packed pictures from merge-block order, as ``lay_out`` makes it, to row by row of each."""
    parts = []
    for part, grid in zip(rows.split(image_grid_thw.prod(-1).tolist()), image_grid_thw.tolist(), strict=True):
        frames, height, width = grid
        blocks = part.reshape(frames, height // merge, width // merge, merge, merge, *part.shape[1:])
        parts.append(blocks.transpose(2, 3).reshape(part.shape))
    return torch.cat(parts)


def _grid(planes: Tensor, config: Any) -> tuple[int, int, int]:
    patch, block = config.patch_size, config.patch_size * config.spatial_merge_size
    _, height, width = planes.shape
    if height % block or width % block or not height or not width:
        raise SdvlmError(f"this tower takes multiples of {block} pixels, got {width}x{height}; resize as its processor")
    return 1, height // patch, width // patch


def _patches(planes: Tensor, config: Any) -> Tensor:
    """(patches, C * frames * patch * patch): one still picture stands in every frame of a patch."""
    patch, merge, frames = config.patch_size, config.spatial_merge_size, config.temporal_patch_size
    _, rows, columns = _grid(planes, config)
    channels = planes.shape[0]
    cut = planes.reshape(channels, rows // merge, merge, patch, columns // merge, merge, patch)
    cut = cut.permute(1, 4, 2, 5, 0, 3, 6)  # block row, block column, row, column, channel, pixel row, pixel column
    still = cut.unsqueeze(5).expand(*cut.shape[:5], frames, patch, patch)
    return still.reshape(rows * columns, channels * frames * patch * patch)
