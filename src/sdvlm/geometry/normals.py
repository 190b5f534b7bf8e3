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
    (ax, ay, az), (bx, by, bz) = (np.moveaxis(_step(points, axis), -1, 0) for axis in (0, 1))
    normal = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)  # down x across
    towards = np.where(np.einsum("ijk,ijk->ij", normal, points) > 0, -1.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal *= (towards / np.sqrt(np.einsum("ijk,ijk->ij", normal, normal)))[..., None]
    return normal


def _step(points: Array, axis: int) -> Array:
    """(H, W, 3) from each point towards larger ``axis``, to or from the neighbour whose z differs less."""
    border = [(0, 0), (0, 0), (0, 0)]
    border[axis] = (1, 1)
    steps = np.pad(np.diff(points, axis=axis), border, constant_values=np.nan)
    front = (slice(None),) * axis
    behind, ahead = steps[(*front, slice(None, -1))], steps[(*front, slice(1, None))]
    near, far = np.abs(behind[..., 2]), np.abs(ahead[..., 2])
    return np.where(((near < far) | np.isnan(far))[..., None], behind, ahead)
