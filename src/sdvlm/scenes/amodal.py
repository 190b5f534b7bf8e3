"""What an object would cover in a picture if nothing stood before it.

Each object is cast alone: its own triangles only, rays only where it projects, the same rays as in the picture. So the
count inside the picture equals that of a rendering of the object alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from embreex import rtcore_scene
from numpy.typing import NDArray

from sdvlm.scenes.rays import embree_scene, grid_rays, world_rays
from sdvlm.scenes.scene import SceneMesh
from sdvlm.types import Camera

__all__ = ["Amodal", "AmodalProjector"]

_NEAR_M = 0.02
_OUTSIDE_RAYS = 2048
"""about how many rays estimate what of an object lies outside the picture"""


@dataclass(frozen=True)
class Amodal:
    """How many pixels an object would cover were nothing before it.

    Args:
        inside: pixels within the picture, exact.
        outside: pixels beyond its borders (up to one picture size away), estimated on a coarser grid.
    """

    inside: int
    outside: int

    @property
    def truncation(self) -> float:
        """Fraction of the object's projection that the picture's borders cut off; 0 if it projects nowhere."""
        return self.outside / max(1, self.inside + self.outside)


class AmodalProjector:
    """Projects the objects of one mesh, one by one."""

    def __init__(self, mesh: SceneMesh) -> None:
        self.mesh = mesh
        self._objects: dict[int, rtcore_scene.EmbreeScene] = {}

    def extents(self, camera: Camera, T_world_cam: NDArray[np.float64], ids: Iterable[int]) -> dict[int, Amodal]:
        """Extent of each of the objects ``ids`` for a camera with pose (4, 4) T_world_cam."""
        T_cam_world = np.linalg.inv(T_world_cam)
        points = self.mesh.vertices @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        return {one: self._extent(one, camera, T_world_cam, points) for one in ids}

    def _extent(
        self, instance: int, camera: Camera, T_world_cam: NDArray[np.float64], points_cam: NDArray[np.float64]
    ) -> Amodal:
        own = self._in_front(instance, points_cam)
        if len(own) == 0:
            return Amodal(0, 0)
        w, h = camera.size
        u = camera.fx * own[:, 0] / own[:, 2] + camera.cx
        v = camera.fy * own[:, 1] / own[:, 2] + camera.cy
        x0, x1 = np.clip([np.floor(u.min()) - 1, np.ceil(u.max()) + 1], -w, 2 * w).astype(int)
        y0, y1 = np.clip([np.floor(v.min()) - 1, np.ceil(v.max()) + 1], -h, 2 * h).astype(int)
        inside = self._count(
            instance, camera, T_world_cam, np.arange(max(0, x0), min(w, x1)), np.arange(max(0, y0), min(h, y1))
        )
        outside = 0
        if x0 < -1 or y0 < -1 or x1 > w + 1 or y1 > h + 1:
            step = max(1, round(((x1 - x0) * (y1 - y0) / _OUTSIDE_RAYS) ** 0.5))
            columns, rows = np.arange(x0, x1, step), np.arange(y0, y1, step)
            beyond = ((columns < 0) | (columns >= w)) | ((rows < 0) | (rows >= h))[:, None]
            outside = self._count(instance, camera, T_world_cam, columns, rows, beyond) * step * step
        return Amodal(inside, outside)

    def _in_front(self, instance: int, points_cam: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) points that bound what of an object is before the camera plane: vertices, and edges cut at it."""
        own: NDArray[np.float64] = points_cam[self.mesh.instances == instance]
        front = own[:, 2] > _NEAR_M
        if front.all() or not front.any():
            return np.asarray(own[front])
        faces = self.mesh.faces[self.mesh.face_instances == instance]
        a, b = points_cam[faces].reshape(-1, 3), points_cam[np.roll(faces, 1, axis=1)].reshape(-1, 3)
        cut = (a[:, 2] > _NEAR_M) & (b[:, 2] <= _NEAR_M) | (b[:, 2] > _NEAR_M) & (a[:, 2] <= _NEAR_M)
        a, b = a[cut], b[cut]
        share = ((_NEAR_M - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]
        return np.concatenate([own[front], a + share * (b - a)])

    def _count(
        self,
        instance: int,
        camera: Camera,
        T_world_cam: NDArray[np.float64],
        columns: NDArray[np.int64],
        rows: NDArray[np.int64],
        chosen: NDArray[np.bool_] | None = None,
    ) -> int:
        """How many of the pixels of a grid (chosen ones of it) see the object alone."""
        rays = grid_rays(camera, columns, rows)
        if chosen is not None:
            rays = rays[chosen.ravel()]
        if len(rays) == 0:
            return 0
        if instance not in self._objects:
            self._objects[instance] = embree_scene(
                self.mesh.vertices, self.mesh.faces[self.mesh.face_instances == instance]
            )
        origins, directions = world_rays(rays, T_world_cam)
        return int(np.count_nonzero(self._objects[instance].run(origins, directions, query="OCCLUDED") >= 0))
