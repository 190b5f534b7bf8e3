"""A box from what one picture shows of an object: the measured points of its mask, without what is not its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdvlm.geometry.project import transform_points
from sdvlm.scenes.upright_box import upright_box
from sdvlm.types import Box3D, Camera

__all__ = ["fit_box", "largest_cluster"]

MIN_POINTS = 30
"""fewer measured points than this make no box"""
CELL_SHARE = 0.02
"""side of a clustering cell as a share of the object's distance: above the spacing of pixels and the sensor's noise"""
MIN_CELL_M = 0.01
MIN_SIDE_M = 0.005
"""no side of a fitted box is shorter: a surface seen face on has no thickness in its points"""


def fit_box(
    mask: NDArray[np.bool_], depth_m: NDArray[np.floating], camera: Camera, T_world_cam: NDArray[np.float64]
) -> Box3D | None:
    """The smallest upright box around the visible part of an object.

    Left out are the mask's rim (a pixel wide, where depth mixes with the background, unless the object is thin) and
    every point that does not hang together with most of the others: background that the mask spills onto, specks.
    The hidden side of the object is not in the points, so the box ends where the visible surface does.

    Args:
        mask: (H, W) bool.
        depth_m: (H, W) metres along the optical axis, NaN where unknown.
        camera: of that size.
        T_world_cam: (4, 4) camera-to-world, +z up.

    Returns:
        The box in the world frame, None where fewer than ``MIN_POINTS`` points are left.
    """
    core = _without_rim(mask)
    if np.count_nonzero(core) < 0.5 * np.count_nonzero(mask):
        core = mask
    rows, columns = np.nonzero(core & np.isfinite(depth_m))
    if len(rows) < MIN_POINTS:
        return None
    z = depth_m[rows, columns].astype(np.float64)
    x = (columns + 0.5 - camera.cx) / camera.fx * z
    y = (rows + 0.5 - camera.cy) / camera.fy * z
    points = transform_points(T_world_cam, np.stack([x, y, z], axis=-1))
    points = points[largest_cluster(points, max(MIN_CELL_M, CELL_SHARE * float(np.median(z))))]
    if len(points) < MIN_POINTS:
        return None
    box = upright_box(points)
    return Box3D(box.center, np.maximum(box.size, MIN_SIDE_M), box.rotation)


def largest_cluster(points: NDArray[np.float64], cell_m: float) -> NDArray[np.bool_]:
    """(N,) bool: the points of the biggest connected set of filled cells of a grid (cells touch at faces to corners).

    Args:
        points: (N, 3) metres.
        cell_m: side of a cell; gaps wider than two cells part clusters.
    """
    cells, of_point = np.unique(np.floor(points / cell_m).astype(np.int64), axis=0, return_inverse=True)
    of_point = of_point.reshape(-1)
    number = {(int(x), int(y), int(z)): index for index, (x, y, z) in enumerate(cells)}
    cluster = np.full(len(cells), -1)
    around = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]
    clusters = 0
    for seed in number:
        if cluster[number[seed]] >= 0:
            continue
        waiting = [seed]
        cluster[number[seed]] = clusters
        while waiting:
            x, y, z = waiting.pop()
            for i, j, k in around:
                index = number.get((x + i, y + j, z + k))
                if index is not None and cluster[index] < 0:
                    cluster[index] = clusters
                    waiting.append((x + i, y + j, z + k))
        clusters += 1
    sizes = np.bincount(cluster[of_point], minlength=clusters)
    return np.asarray(cluster[of_point] == sizes.argmax())


def _without_rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without the pixels that have a neighbour (up, down, left, right) outside it."""
    padded = np.pad(mask, 1)
    return np.asarray(mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
