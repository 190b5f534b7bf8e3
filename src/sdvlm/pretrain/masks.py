"""Random patch masks, and depth input with the masked patches hidden.

A hidden patch is given as a patch of unknown depth (zero in every plane, ``valid`` among them), not as a learned mask
embedding behind the patch projection: it is what the tower meets at use wherever a sensor saw nothing, so pre-training
teaches what completes a hole; there is no embedding that use would leave idle; and it does not depend on how a tower is
built inside, packed or not. Whole pictures of unknown depth (modality dropout) are the same with every patch hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdvlm.fusion.pixel_layout import to_raster
from sdvlm.types import SdvlmError

__all__ = ["hide_patches", "random_masks"]

Grid = tuple[int, int]


def random_masks(
    grids: Sequence[Grid], ratio: float = 0.75, generator: torch.Generator | None = None, block: int = 1
) -> list[Tensor]:
    """For each picture (rows * columns,) bool, patches row by row: True is to be hidden.

    Args:
        grids: (rows, columns) of patches of each picture.
        ratio: share of blocks to hide, rounded; at least one block stays visible.
        generator: of the CPU; None: torch's own.
        block: patches along a side that are hidden together. Small patches are guessed from their neighbours; hiding
            blocks of about 32 pixels asks for more (SimMIM, arXiv 2111.09886).

    Raises:
        SdvlmError: a ratio outside 0..1.
    """
    if not 0 <= ratio < 1:
        raise SdvlmError(f"the share of masked patches must be at least 0 and below 1; got {ratio}")
    masks = []
    for rows, columns in grids:
        tall, wide = -(-rows // block), -(-columns // block)
        hidden = min(round(ratio * tall * wide), tall * wide - 1)
        mask = torch.zeros(tall * wide, dtype=torch.bool)
        mask[torch.randperm(tall * wide, generator=generator)[:hidden]] = True
        spread = mask.reshape(tall, wide).repeat_interleave(block, 0).repeat_interleave(block, 1)
        masks.append(spread[:rows, :columns].reshape(-1))
    return masks


def hide_patches(
    inputs: dict[str, Tensor], masks: Sequence[Tensor], grids: Sequence[Grid], merge: int = 1
) -> dict[str, Tensor]:
    """A depth tower's input with the masked patches unknown; nothing is changed in place.

    Args:
        inputs: as ``fusion.pixel_layout.lay_out`` makes them: ``pixel_values`` (B, C, H, W), or packed (T, K) with
            ``image_grid_thw``.
        masks: of each picture, as :func:`random_masks` makes them.
        grids: (rows, columns) of patches of each picture.
        merge: the tower's ``spatial_merge_size`` where the input is packed.

    Raises:
        SdvlmError: the masks do not fit the input.
    """
    pixels = inputs["pixel_values"]
    if len(masks) != len(grids) or any(len(one) != r * c for one, (r, c) in zip(masks, grids, strict=True)):
        raise SdvlmError(f"masks of {[len(one) for one in masks][:4]} patches do not fit patch grids {list(grids)[:4]}")
    flat = torch.cat(list(masks)).to(pixels.device)
    if pixels.ndim == 2:
        thw = inputs["image_grid_thw"]
        if [tuple(one) for one in thw.tolist()] != [(1, *grid) for grid in grids]:
            raise SdvlmError(f"patch grids {list(grids)[:4]} do not fit packed pictures {thw.tolist()[:4]}")
        hidden = torch.empty_like(flat)
        hidden[to_raster(torch.arange(len(flat), device=flat.device), thw, merge)] = flat
        return {**inputs, "pixel_values": pixels.masked_fill(hidden[:, None], 0.0)}
    rows, columns = grids[0]
    tall, wide = pixels.shape[2] // rows, pixels.shape[3] // columns
    if len(set(grids)) > 1 or pixels.shape[::2] + pixels.shape[3:] != (len(masks), rows * tall, columns * wide):
        raise SdvlmError(f"{len(masks)} masks of patch grids {list(grids)[:4]} do not fit pixels {[*pixels.shape]}")
    spread = flat.reshape(-1, 1, rows, columns).repeat_interleave(tall, 2).repeat_interleave(wide, 3)
    return {**inputs, "pixel_values": pixels.masked_fill(spread, 0.0)}
