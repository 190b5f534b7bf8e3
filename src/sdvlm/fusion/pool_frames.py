"""Depth of tokens that look at the same box in several frames of a video."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdvlm.fusion.depth_grid import DepthGrid

__all__ = ["joined_frames"]

_MEANS = ("z", "x", "y")
_DIRECTIONS = ("ray_x", "ray_y", "u", "v")


def joined_frames(grids: Sequence[DepthGrid]) -> DepthGrid:
    """One grid of the same tokens in several frames, as if each box were a block of all its frames.

    Means weigh each frame by the area of which its depth is known, so frames without depth count for nothing but lower
    ``valid``, the known share of the whole block. A point (x, y) is known where it is in every frame with depth: else
    it would lie elsewhere than z says.

    Args:
        grids: of each frame, T tokens each, depth of one kind.
    """
    if len(grids) == 1:
        return grids[0]
    weight = torch.stack([grid.valid for grid in grids])  # [F, T]
    columns = {name: _mean(_stacked(grids, name), weight) for name in _MEANS}
    z, spread = _stacked(grids, "z"), _stacked(grids, "z_std")
    squares = _mean(spread**2 + (z - columns["z"]) ** 2, weight)  # of the values around the mean of all frames
    columns |= {name: _stacked(grids, name).nanmean(dim=0) for name in _DIRECTIONS}
    columns |= {
        "z_std": squares.clamp(min=0).sqrt(),
        "z_min": _extreme(_stacked(grids, "z_min"), low=True),
        "z_max": _extreme(_stacked(grids, "z_max"), low=False),
        "valid": weight.mean(dim=0),
        "kind": _stacked(grids, "kind").amax(dim=0),
    }
    return DepthGrid(**columns, image_index=grids[0].image_index)


def _stacked(grids: Sequence[DepthGrid], name: str) -> Tensor:
    """(F, T) a channel of each frame."""
    return torch.stack([getattr(grid, name) for grid in grids])


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """(T,) weighted mean over frames; NaN where a frame that counts is unknown, and where none counts."""
    counts = weight > 0
    total = torch.where(counts, values * weight, 0.0).sum(dim=0)
    return torch.where(counts.any(dim=0), total / weight.sum(dim=0), torch.nan)


def _extreme(values: Tensor, low: bool) -> Tensor:
    """(T,) smallest or largest known value; NaN where none is known."""
    missing = torch.inf if low else -torch.inf
    filled = values.nan_to_num(missing, posinf=torch.inf, neginf=-torch.inf)
    found = filled.amin(dim=0) if low else filled.amax(dim=0)
    return torch.where(found == missing, torch.nan, found)
