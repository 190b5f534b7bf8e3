"""From measured places of a view's pixels in the original picture to the view's transform."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families.family import Size
from sdvlm.types import SdvlmError

__all__ = ["diagonal", "fitted", "unfolded"]

_BENT = 3.0  # pixels of the coarser frame from the picture's edge that a resize may bend
_STRAY = 0.25  # most pixels of the coarser frame that a measured place may be off
_SNAP = 0.02  # pixels of the view within which whole numbers are meant
_FEWEST = 3
Plane = NDArray[np.float64]


def fitted(x: Plane, y: Plane, size: Size, levels: Sequence[float]) -> ImageTransform:
    """The transform of one view.

    Args:
        x, y: (H, W) places of its pixels in the original; NaN for padding, and where they are not known.
        size: (width, height) of the original.
        levels: pixels of the original per level of brightness that x and y were read off, which are whole.

    Raises:
        SdvlmError: the view is not made by resize, crop and padding alone.
    """
    height, width = x.shape
    sx, tx = _axis(x, size[0], y, levels[0])
    sy, ty = _axis(y.T, size[1], x.T, levels[1])
    return ImageTransform(size, (width, height), (sx, sy), (tx, ty))


def diagonal(x: Plane, y: Plane, patch: int) -> NDArray[np.int64]:
    """(patch,) which values of patches are the pixels of their diagonal, from the (n, values) places of many patches.

    Raises:
        SdvlmError: the values are no pixels.
    """
    across, down = (_pixel(one, patch) for one in (x, y))
    found = [np.flatnonzero((across == at) & (down == at)) for at in range(patch)]
    if any(len(one) == 0 or len(one) != len(found[0]) for one in found):
        raise SdvlmError("the values of its patches are no pixels")
    return np.array([one[0] for one in found])


def unfolded(x: Plane, y: Plane) -> list[Plane]:
    """x and y, each as the (1, H, W) plane that (n, patch) diagonals of patches lie in, in whatever order they come.

    Raises:
        SdvlmError: the patches are no grid over the picture.
    """
    patch = x.shape[1]
    real = np.isfinite(x).any(axis=1) & np.isfinite(y).any(axis=1)
    column, row = _steps(x[real]), _steps(y[real])
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    if len(row) != rows * columns or len(set((row * columns + column).tolist())) != len(row):
        raise SdvlmError("its patches are no grid over the picture")
    planes = []
    for places in (x[real], y[real]):
        plane = np.full((1, rows * patch, columns * patch), np.nan)
        at = np.arange(patch)
        plane[0, row[:, None] * patch + at, column[:, None] * patch + at] = places
        planes.append(plane)
    return planes


def _pixel(places: Plane, patch: int) -> NDArray[np.int64]:
    """(values,) the pixel of each value in its patch, along one axis."""
    real = places[np.isfinite(places).any(axis=1)]
    offset = np.nanmedian(real - _mean(real, 1)[:, None], axis=0)
    span = max(float(np.nanmax(offset) - np.nanmin(offset)), 1e-9)
    return np.round((offset - np.nanmin(offset)) / span * (patch - 1)).astype(np.int64)


def _steps(places: Plane) -> NDArray[np.int64]:
    """(n,) how many patches stand before each along one axis, from the (n, patch) places of diagonals."""
    centre = _mean(places, 1)
    patch = places.shape[1]
    step = float(np.nanmedian(np.diff(places, axis=1))) * patch
    order = np.argsort(centre)
    index = np.empty(len(centre), dtype=np.int64)
    index[order] = np.cumsum(np.diff(centre[order], prepend=centre[order[0]]) > 0.5 * step)
    return index


def _axis(places: Plane, length: int, others: Plane, level: float) -> tuple[float, float]:
    """Scale and offset along the last axis of (m, n) places; they must not depend on the axis before.

    Args:
        places: of the original, along its side of ``length``.
        others: along its other side.
        level: most that a place may be off by itself.
    """
    seen = np.isfinite(places) | np.isfinite(others)
    lines = np.flatnonzero(seen.any(axis=1))
    half = len(lines) // 2
    parts = [lines, *((lines[:half], lines[half:]) if half else ())]
    means = [_mean(places[part], 0) for part in parts]
    pixels = np.arange(places.shape[1], dtype=np.float64) + 0.5
    slope, _ = _line(means[0], pixels)
    edge = _BENT * max(1.0, 1 / slope) if slope > 0 else 0.0
    with np.errstate(invalid="ignore"):
        kept = (means[0] > edge) & (means[0] < length - edge)
    if slope <= 0 or kept.sum() < _FEWEST:
        raise SdvlmError("a view shows too little of the picture to tell where it looks")
    slope, offset = _line(means[0][kept], pixels[kept])
    stray = max(float(np.nanmax(np.abs(slope * one[kept] + offset - pixels[kept]))) for one in means)
    if stray > _STRAY * max(1.0, slope) + level * slope:
        raise SdvlmError(f"a view is up to {stray:.1f} pixels off any resize, crop and padding of the picture")
    whole, start, near = round(slope * length), round(offset), _SNAP + 0.1 * level * slope
    if abs(whole - slope * length) < near and abs(start - offset) < near:
        return whole / length, float(start)
    return slope, offset


def _line(places: Plane, pixels: Plane) -> tuple[float, float]:
    """Least squares ``pixel = slope * place + offset`` of those that are known."""
    known = np.isfinite(places)
    if known.sum() < 2 or np.ptp(places[known]) == 0:
        return 0.0, 0.0
    back, start = np.polyfit(pixels[known], places[known], 1)
    return float(1 / back), float(-start / back)


def _mean(places: Plane, axis: int) -> Plane:
    """Of those that are known; NaN where none is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(places, axis=axis))
