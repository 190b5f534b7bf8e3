"""Bring a depth picture onto the pixels of another camera at the same place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Camera, SdvlmError

__all__ = ["register_depth"]


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
    if depth_m.shape != (depth_camera.height, depth_camera.width):
        height, width = depth_m.shape
        raise SdvlmError(f"depth is {width}x{height} but its camera is for {depth_camera.width}x{depth_camera.height}")
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
