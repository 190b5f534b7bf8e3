"""Sparse depth (LiDAR returns) spread to the pixels around each measurement, to tell which pixels show an object."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["SPARSE_SHARE", "spread_depth"]

SPARSE_SHARE = 0.05
"""depth known in fewer pixels than this share is sparse points, not a picture with holes"""
_REACH = 1.2
"""how far a measurement reaches, in mean distances between measurements"""
_FARTHEST_PX = 64


def spread_depth(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest measurement's depth at each pixel that has one within reach, NaN elsewhere.

    For finding out which pixels show what, never as measured depth: between two surfaces it is off by half the
    distance of the points. Of equally near measurements the later one in row order is taken.

    Args:
        depth_m: (H, W) metres, NaN where unknown.

    Returns:
        The same array if more than ``SPARSE_SHARE`` of its pixels (or none) are known.
    """
    rows, columns = np.nonzero(np.isfinite(depth_m))
    if len(rows) == 0 or len(rows) > SPARSE_SHARE * depth_m.size:
        return depth_m
    reach = min(_FARTHEST_PX, math.ceil(_REACH * math.sqrt(depth_m.size / len(rows))))
    height, width = depth_m.shape
    around = np.full((height + 2 * reach, width + 2 * reach), np.nan, dtype=np.float32)
    values = depth_m[rows, columns]
    steps = np.arange(-reach, reach + 1)
    offsets = [(y * y + x * x, y, x) for y in steps.tolist() for x in steps.tolist() if y * y + x * x <= reach * reach]
    for _, y, x in sorted(offsets, reverse=True):
        around[rows + (reach + y), columns + (reach + x)] = values
    return around[reach : reach + height, reach : reach + width]
