"""Bring a depth picture onto the pixels of another camera, at the same place or beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Camera, SdvlmError

__all__ = ["register_depth", "register_moved_depth"]

_NEAR_M = 0.01
_OVERLAP = 0.02
"""by how much of its side a pixel's footprint is enlarged, so that neighbours leave no gap between them"""

_LARGEST = 4.0
"""a point that comes nearer by moving grows at most by this factor"""


def register_depth(depth_m: NDArray[np.float32], depth_camera: Camera, camera: Camera) -> NDArray[np.float32]:
    """Depth at each pixel of ``camera``, taken from the depth pixel its ray falls in.

    Both cameras share centre and axes, so z-depth is the same along a ray whatever it is; nothing is interpolated,
    holes stay holes, and what the depth camera does not see is NaN.

    Args:
        depth_m: (Hd, Wd) metres, NaN unknown, of ``depth_camera``'s size.
        depth_camera: intrinsics of the depth picture.
        camera: intrinsics to bring it to.

    Returns:
        (H, W) float32 of ``camera``'s size.

    Raises:
        SdvlmError: the depth picture is not of its camera's size.
    """
    _check_size(depth_m, depth_camera)
    if depth_camera == camera:
        return depth_m
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    columns = np.floor(x * depth_camera.fx + depth_camera.cx).astype(int)
    rows = np.floor(y * depth_camera.fy + depth_camera.cy).astype(int)
    seen_x = (columns >= 0) & (columns < depth_camera.width)
    seen_y = (rows >= 0) & (rows < depth_camera.height)
    taken = depth_m[np.clip(rows, 0, depth_camera.height - 1)][:, np.clip(columns, 0, depth_camera.width - 1)]
    return np.where(seen_y[:, None] & seen_x, taken, np.float32(np.nan))


def _check_size(depth_m: NDArray[np.float32], depth_camera: Camera) -> None:
    if depth_m.shape != (depth_camera.height, depth_camera.width):
        height, width = depth_m.shape
        raise SdvlmError(f"depth is {width}x{height} but its camera is for {depth_camera.width}x{depth_camera.height}")


def register_moved_depth(
    depth_m: NDArray[np.float32], depth_camera: Camera, camera: Camera, T_color_depth: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Depth at each pixel of a camera that stands beside the depth camera: every measured point is carried over.

    A depth pixel covers a small square in the other picture, at the depth its centre has there; where squares overlap
    the nearest wins. What only the other camera sees stays NaN.

    Args:
        depth_m: (Hd, Wd) metres, NaN unknown, of ``depth_camera``'s size.
        depth_camera: intrinsics of the depth picture.
        camera: intrinsics to bring it to.
        T_color_depth: (4, 4) rigid, maps points of the depth camera's frame to ``camera``'s.

    Returns:
        (H, W) float32 of ``camera``'s size.

    Raises:
        SdvlmError: the depth picture is not of its camera's size.
    """
    _check_size(depth_m, depth_camera)
    rows, columns = np.nonzero(np.isfinite(depth_m))
    z = depth_m[rows, columns].astype(np.float64)
    x = (columns + 0.5 - depth_camera.cx) / depth_camera.fx * z
    y = (rows + 0.5 - depth_camera.cy) / depth_camera.fy * z
    points = np.stack([x, y, z], axis=-1) @ T_color_depth[:3, :3].T + T_color_depth[:3, 3]
    order = np.argsort(-points[:, 2], kind="stable")  # the nearest is written last and stays
    order = order[points[order, 2] > _NEAR_M]
    points, shrink = points[order], z[order] / points[order, 2]
    u = camera.fx * points[:, 0] / points[:, 2] + camera.cx
    v = camera.fy * points[:, 1] / points[:, 2] + camera.cy
    shrink = np.minimum(shrink, _LARGEST)
    half_u = (0.5 + _OVERLAP) * camera.fx / depth_camera.fx * shrink
    half_v = (0.5 + _OVERLAP) * camera.fy / depth_camera.fy * shrink
    left, right = np.ceil(u - half_u - 0.5), np.ceil(u + half_u - 0.5)  # pixels whose centres lie in the square
    top, bottom = np.ceil(v - half_v - 0.5), np.ceil(v + half_v - 0.5)
    seen = (right > 0) & (left < camera.width) & (bottom > 0) & (top < camera.height)
    left, right, top, bottom = (side[seen].astype(np.int64) for side in (left, right, top, bottom))
    near = points[seen, 2].astype(np.float32)
    registered = np.full(camera.width * camera.height, np.inf, dtype=np.float32)
    for down in range(int((bottom - top).max(initial=0))):
        for across in range(int((right - left).max(initial=0))):
            j, i = left + across, top + down
            inside = (j < right) & (i < bottom) & (j >= 0) & (i >= 0) & (j < camera.width) & (i < camera.height)
            pixels = i[inside] * camera.width + j[inside]
            registered[pixels] = np.minimum(registered[pixels], near[inside])
    registered[np.isinf(registered)] = np.nan
    return registered.reshape(camera.height, camera.width)
