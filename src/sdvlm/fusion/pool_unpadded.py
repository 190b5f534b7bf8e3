"""Depth map to a grid over the picture without its padding, as the released SD-VLM code pools it.

The released models were trained so: the depth grid covers the picture, while the tokens of a padding model cover the
padded square. On a 4:3 picture the outer token rows thus get depth of places they do not see. Everything else should
pool over token boxes (``fusion.pool``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdvlm.fusion.depth_grid import CHANNELS, DepthGrid, kind_code
from sdvlm.types import DepthKind, DepthMap, SdvlmError

__all__ = ["pool_missing", "pool_unpadded"]


def pool_unpadded(depth: DepthMap | None, rows: int, columns: int) -> DepthGrid:
    """Pool one picture's depth to ``rows * columns`` tokens, row by row, whatever the size of the map.

    Relative depth and disparity (``encode_depth``): mean over adaptive bins, from the floor of each edge to the ceiling
    of the next, which may overlap by a pixel. Metric depth (``custom_adaptive_avg_pool2d``): mean of the known pixels
    of bins from floor to floor, and 0 where a bin has none, which then is the nearest token of a min-max.

    Args:
        depth: map of the picture at any size, or None: no token has depth.
        rows, columns: of the token grid.

    Returns:
        DepthGrid of rows * columns tokens, float32 on the CPU, with z, valid, u, v and kind; the rest is NaN.

    Raises:
        SdvlmError: a grid without cells.
    """
    if rows < 1 or columns < 1:
        raise SdvlmError(f"depth is pooled to at least one row and one column; got {rows} x {columns}")
    if depth is None:
        return _grid(torch.full((rows, columns), torch.nan), torch.zeros(rows, columns), None)
    if depth.kind is DepthKind.METRIC:
        z, valid = _floor_floor(depth, rows, columns)
    else:
        z, valid = _adaptive(depth, rows, columns)
    return _grid(z, valid, depth.kind)


def pool_missing(rows: int, columns: int) -> DepthGrid:
    """The grid of a sample without a picture: the released code takes a map of zeros and still adds its code,
    0, 1, 0, 1, ... to every token."""
    return _grid(torch.zeros(rows, columns), torch.zeros(rows, columns), DepthKind.DISPARITY)


def _adaptive(depth: DepthMap, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """(rows, columns) mean of the known pixels and share of known pixels, over floor / ceiling bins."""
    known = torch.from_numpy(depth.valid)[None].float()
    values = torch.nan_to_num(torch.from_numpy(depth.values.copy()))[None]
    valid = nn.functional.adaptive_avg_pool2d(known, (rows, columns))[0]
    mean = nn.functional.adaptive_avg_pool2d(values, (rows, columns))[0] / valid
    return torch.where(valid > 0, mean, torch.nan), valid


def _floor_floor(depth: DepthMap, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """(rows, columns) mean of the known pixels, 0 where there are none, and share of known pixels."""
    known = depth.valid.astype(np.float64)
    total = _bin_sums(np.where(depth.valid, depth.values, 0.0).astype(np.float64), rows, columns)
    count, area = _bin_sums(known, rows, columns), _bin_sums(np.ones_like(known), rows, columns)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    share = np.divide(count, area, out=np.zeros_like(total), where=area > 0)
    return torch.from_numpy(mean).float(), torch.from_numpy(share).float()


def _bin_sums(values: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """(rows, columns) sums over bins from floor to floor; a bin narrower than a pixel may be empty."""
    for axis, bins in ((0, rows), (1, columns)):
        length = values.shape[axis]
        edges = np.arange(bins + 1) * length // bins
        values = np.diff(np.insert(values.cumsum(axis=axis), 0, 0.0, axis=axis).take(edges, axis=axis), axis=axis)
    return values


def _grid(z: Tensor, valid: Tensor, kind: DepthKind | None) -> DepthGrid:
    rows, columns = z.shape
    v, u = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    channels = dict.fromkeys(CHANNELS, torch.full((rows * columns,), torch.nan))
    channels |= {"z": z.flatten(), "valid": valid.flatten(), "u": u.flatten(), "v": v.flatten()}
    channels["kind"] = torch.full((rows * columns,), float(kind_code(kind)))
    return DepthGrid(**channels, image_index=torch.zeros(rows * columns, dtype=torch.long))
