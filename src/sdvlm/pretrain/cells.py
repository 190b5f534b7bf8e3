"""Patch features of a picture as a few cells: averages over a coarse grid, so that the layout is not averaged away.

A mean over the whole picture forgets where things are, and two pictures of one kind of room look the same. An average
over 3 x 3 cells keeps the layout at nine times the width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sdvlm.types import SdvlmError

__all__ = ["Projection", "pool_cells", "split_pictures"]


def split_pictures(features: Tensor, grids: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Features as a tower gives them to one (N_i, D) tensor a picture.

    Args:
        features: (B, N, D) of pictures of one size, or (T, D) of packed ones.
        grids: (rows, columns) of patches of each picture.

    Raises:
        SdvlmError: there are not as many features as the grids have patches.
    """
    sizes = [rows * columns for rows, columns in grids]
    if features.ndim == 3:
        fits = features.shape[:2] == (len(sizes), sizes[0] if sizes else 0) and len(set(sizes)) <= 1
    else:
        fits = len(features) == sum(sizes)
    if not fits:
        raise SdvlmError(f"{[*features.shape]} patch features do not fit patch grids {sorted(set(grids))}")
    return list(features) if features.ndim == 3 else list(features.split(sizes))


def pool_cells(features: Sequence[Tensor], grids: Sequence[tuple[int, int]], cells: int) -> Tensor:
    """(B, cells * cells, D) averages over cells.

    Args:
        features: (N_i, D) of each picture, row by row.
        grids: (rows, columns) of its patches. Where these are no multiple of ``cells``, neighbouring cells share
            patches, as in adaptive average pooling.
        cells: along each side.
    """
    if len({(tuple(one.shape), grid) for one, grid in zip(features, grids, strict=True)}) == 1:
        rows, columns = grids[0]
        maps = torch.stack(list(features)).transpose(1, 2).unflatten(2, (rows, columns))
        return nn.functional.adaptive_avg_pool2d(maps, cells).flatten(2).transpose(1, 2)
    each = [pool_cells([one], [grid], cells) for one, grid in zip(features, grids, strict=True)]
    return torch.cat(each)


class Projection(nn.Module):
    """Cells of a picture to its place in the space pairs are contrasted in.

    Args:
        cells: how many a picture.
        width: of a feature.
        out: of the embedding.
        hidden: width of a hidden layer; 0: one linear map.

    Cells are standardised by fixed moments (``mean``, ``deviation``: those of the RGB tower over the training pairs)
    or, where these are not set, by a layer norm over each cell.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, cells: int, width: int, out: int, hidden: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.register_buffer("mean", torch.zeros(cells, width))
        self.register_buffer("deviation", torch.zeros(cells, width))
        size = cells * width
        self.layers = (
            nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, out))
            if hidden
            else nn.Sequential(nn.Linear(size, out))
        )

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the moments, each (cells, width)."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=1e-3 * float(deviation.mean())))

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, cells, width) to (B, out)."""
        if bool(self.deviation.any()):
            scaled = (pooled.float() - self.mean) / self.deviation
        else:
            scaled = self.norm(pooled.float())
        out: Tensor = self.layers(scaled.flatten(1))
        return out
