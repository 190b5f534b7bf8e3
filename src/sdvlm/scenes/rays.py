"""Rays of a pinhole camera, and Embree scenes to cast them into.

Directions have a component of 1 along the optical axis, so the ray parameter Embree returns *is* the z-depth.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import NDArray

from sdvlm.types import Camera

__all__ = ["camera_rays", "embree_scene", "finer_camera", "grid_rays", "world_rays"]


def grid_rays(camera: Camera, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(rows * columns, 3) camera-frame directions with z = 1 through the centres of the pixels of a grid."""
    x = ((columns + 0.5 - camera.cx) / camera.fx).astype(np.float32)
    y = ((rows + 0.5 - camera.cy) / camera.fy).astype(np.float32)
    rays = np.ones((len(y), len(x), 3), dtype=np.float32)
    rays[..., 0], rays[..., 1] = x, y[:, None]
    return rays.reshape(-1, 3)


@lru_cache(maxsize=16)
def camera_rays(camera: Camera) -> NDArray[np.float32]:
    """(H * W, 3) directions through all pixel centres, row by row; read-only and kept for the next call."""
    rays = grid_rays(camera, np.arange(camera.width), np.arange(camera.height))
    rays.setflags(write=False)
    return rays


def world_rays(
    rays_cam: NDArray[np.float32], T_world_cam: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """World-frame origins and directions, (N, 3) each, of camera-frame rays (N, 3)."""
    directions = rays_cam @ np.ascontiguousarray(T_world_cam[:3, :3].T, dtype=np.float32)
    return np.broadcast_to(T_world_cam[:3, 3].astype(np.float32), directions.shape).copy(), directions


def embree_scene(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> rtcore_scene.EmbreeScene:
    """Triangles ready for casting; robust traversal, so that rays do not slip between neighbours."""
    scene = rtcore_scene.EmbreeScene(robust=True)
    TriangleMesh(scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))
    return scene


def finer_camera(camera: Camera, factor: int) -> Camera:
    """The same camera with ``factor`` times as many pixels along each side."""
    return Camera(
        camera.width * factor,
        camera.height * factor,
        camera.fx * factor,
        camera.fy * factor,
        camera.cx * factor,
        camera.cy * factor,
    )
