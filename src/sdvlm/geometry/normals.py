"""Surface normals of a depth map, from neighbouring points of the same surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdvlm.geometry.project import unproject
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["surface_normals"]

Array = NDArray[np.float64]


def surface_normals(depth: DepthMap, camera: Camera) -> Array:
    """(H, W, 3) unit normals in camera axes, turned towards the camera; NaN where unknown.

    The normal of a pixel is that of the plane through its point and one neighbour of each axis: the neighbour whose
    depth differs less, so that an edge of an object does not tilt the surfaces on either side of it.

    Raises:
        SdvlmError: the depth is not metric, or the camera is for another size.
    """
    if depth.kind is not DepthKind.METRIC:
        raise SdvlmError(f"normals need metric depth, got {depth.kind}; an unknown scale and shift bends surfaces")
    points = unproject(depth.values, camera)
    across, down = _step(points, axis=1), _step(points, axis=0)
    normal = np.cross(down, across)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        away = (normal * points).sum(-1) > 0
    return np.where(away[..., None], -normal, normal)


def _step(points: Array, axis: int) -> Array:
    """(H, W, 3) from each point towards larger ``axis``, to or from the neighbour whose z differs less."""
    ahead = np.full_like(points, np.nan)
    behind = np.full_like(points, np.nan)
    difference = np.diff(points, axis=axis)
    front = (slice(None),) * axis
    ahead[(*front, slice(None, -1))] = difference
    behind[(*front, slice(1, None))] = difference
    near = np.nan_to_num(np.abs(behind[..., 2]), nan=np.inf) < np.nan_to_num(np.abs(ahead[..., 2]), nan=np.inf)
    return np.where(near[..., None], behind, ahead)
