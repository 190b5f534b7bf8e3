"""What a control does to the depth of a frame before it asks again. The picture is never touched."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import DepthKind, DepthMap, RgbdFrame, SdvlmError

__all__ = [
    "as_disparity",
    "with_constant_depth",
    "with_noise_depth",
    "with_scaled_depth",
    "with_shuffled_depth",
    "without_depth",
]

Index = NDArray[np.intp]


def without_depth(frame: RgbdFrame) -> RgbdFrame:
    """The frame as a plain camera gives it."""
    return replace(frame, depth=None)


def with_scaled_depth(frame: RgbdFrame, factor: float) -> RgbdFrame:
    """Every depth times ``factor``: the same picture of a world that is that much larger."""
    return replace(frame, depth=_depth(frame).scaled(factor))


def with_constant_depth(frame: RgbdFrame, metres: float = 2.0) -> RgbdFrame:
    """A wall at ``metres`` that fills the picture."""
    return replace(frame, depth=DepthMap(np.full(frame.image.shape[:2], metres), source="constant"))


def with_noise_depth(
    frame: RgbdFrame, rng: np.random.Generator, low_m: float = 0.3, high_m: float = 30.0, cells: int = 4
) -> RgbdFrame:
    """Depth that has nothing to do with the picture: ``cells`` x ``cells`` log-uniform blocks."""
    blocks = np.exp(rng.uniform(math.log(low_m), math.log(high_m), (cells, cells)))
    row, column = _cell_of_pixel(frame.image.shape[0], cells), _cell_of_pixel(frame.image.shape[1], cells)
    return replace(frame, depth=DepthMap(blocks[np.ix_(row, column)], source="noise"))


def with_shuffled_depth(frame: RgbdFrame, rng: np.random.Generator, cells: int = 4) -> RgbdFrame:
    """The map cut into ``cells`` x ``cells`` blocks and put together in another order: right values, wrong places.

    Where the size does not divide, a block is stretched by nearest neighbour to the place it goes to.
    """
    values = _depth(frame).values
    if min(values.shape) < cells:
        raise SdvlmError(f"{frame.name}: {frame.size} pixels cannot be cut into {cells} x {cells} blocks")
    source = rng.permutation(cells * cells)
    row, column = _cell_of_pixel(values.shape[0], cells), _cell_of_pixel(values.shape[1], cells)
    from_cell = source[row[:, None] * cells + column[None, :]]  # [H, W]
    take_row = _stretched(row[:, None], from_cell // cells, np.arange(values.shape[0])[:, None])
    take_column = _stretched(column[None, :], from_cell % cells, np.arange(values.shape[1])[None, :])
    return replace(frame, depth=replace(_depth(frame), values=values[take_row, take_column]))


def _stretched(cell: Index, from_cell: Index, pixel: Index) -> Index:
    """The pixel of ``from_cell`` that comes to stand at ``pixel`` of ``cell``, along one axis."""
    start = np.searchsorted(cell.ravel(), np.arange(cell.max() + 1))
    length = np.bincount(cell.ravel())
    return np.asarray(start[from_cell] + (2 * (pixel - start[cell]) + 1) * length[from_cell] // (2 * length[cell]))


def as_disparity(frame: RgbdFrame, scale: float = 3.0, shift: float = 0.5) -> RgbdFrame:
    """The same scene as a relative estimator gives it: ``scale / z + shift``, larger is nearer.

    Raises:
        SdvlmError: the frame's depth is not metric.
    """
    depth = _depth(frame)
    if depth.kind is not DepthKind.METRIC:
        raise SdvlmError(f"{frame.name}: disparity is made of metric depth, got {depth.kind}")
    return replace(
        frame, depth=DepthMap(scale / depth.values + shift, DepthKind.DISPARITY, "inverse of " + depth.source)
    )


def _cell_of_pixel(length: int, cells: int) -> Index:
    return np.asarray((np.arange(length) + 0.5) * cells / length, dtype=int)


def _depth(frame: RgbdFrame) -> DepthMap:
    if frame.depth is None:
        raise SdvlmError(f"{frame.name}: this control changes the depth map, and there is none")
    return frame.depth
