"""Pixels to points and back; poses.

Notation: H, W image height and width; camera frame as in OpenCV (x right, y down, z forward); pixel centres at +0.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdvlm.types import Camera, SdvlmError

__all__ = ["camera_rays", "invert_pose", "project", "ray_to_z", "transform_points", "unproject"]

Array = NDArray[np.float64]


def camera_rays(camera: Camera) -> Array:
    """(H, W, 3) direction through each pixel centre, scaled so that its z component is 1 (not unit length)."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    rays = np.ones((camera.height, camera.width, 3))
    rays[..., 0] = x[None, :]
    rays[..., 1] = y[:, None]
    return rays


def unproject(depth_m: ArrayLike, camera: Camera) -> Array:
    """(H, W) metres along the optical axis to (H, W, 3) camera-frame points; NaN where depth is NaN.

    Raises:
        SdvlmError: the map and the camera have different sizes.
    """
    depth = np.asarray(depth_m, dtype=np.float64)
    if depth.shape != (camera.height, camera.width):
        raise SdvlmError(
            f"depth is {depth.shape[1]}x{depth.shape[0]} pixels but the camera is for {camera.width}x{camera.height}"
        )
    return np.asarray(camera_rays(camera) * depth[..., None])


def project(points_cam: ArrayLike, camera: Camera) -> tuple[Array, Array]:
    """Camera-frame points to pixels.

    Args:
        points_cam: (..., 3) metres.

    Returns:
        uv: (..., 2) continuous pixel coordinates (centre of the first pixel at 0.5, 0.5); NaN for points at z <= 0.
        z: (...,) metres along the optical axis.
    """
    points = np.asarray(points_cam, dtype=np.float64)
    z = points[..., 2]
    safe = np.where(z > 0, z, np.nan)
    u = camera.fx * points[..., 0] / safe + camera.cx
    v = camera.fy * points[..., 1] / safe + camera.cy
    return np.stack([u, v], axis=-1), z


def ray_to_z(ray_m: ArrayLike, camera: Camera) -> Array:
    """(H, W) distance along each pixel's ray (range images, many simulators) to depth along the optical axis."""
    return np.asarray(np.asarray(ray_m, dtype=np.float64) / np.linalg.norm(camera_rays(camera), axis=-1))


def transform_points(T_a_b: ArrayLike, points_b: ArrayLike) -> Array:
    """(..., 3) points of frame b expressed in frame a. ``T_a_b``: (4, 4)."""
    T = np.asarray(T_a_b, dtype=np.float64)
    return np.asarray(np.asarray(points_b, dtype=np.float64) @ T[:3, :3].T + T[:3, 3])


def invert_pose(T_a_b: ArrayLike) -> Array:
    """(4, 4) rigid ``T_a_b`` to ``T_b_a``."""
    T = np.asarray(T_a_b, dtype=np.float64)
    inverse = np.eye(4)
    inverse[:3, :3] = T[:3, :3].T
    inverse[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return inverse
