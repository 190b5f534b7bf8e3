"""Ray-cast pictures of a mesh with Embree: colour, depth along the optical axis, instance ids.

Rays leave the camera with a component of 1 along its optical axis, so the ray parameter Embree returns *is* the z-depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import NDArray

from sdvlm.scenes.develop import develop
from sdvlm.scenes.look import Look
from sdvlm.scenes.palette import srgb_to_linear
from sdvlm.scenes.scene import SceneMesh
from sdvlm.scenes.texture import texture_gain
from sdvlm.types import Camera

__all__ = ["Amodal", "Renderer", "Rendering"]

_NO_HIT = 1e30
_NEAR_M = 0.02
_OUTSIDE_RAYS = 2048
"""about how many rays estimate what of an object lies outside the picture"""


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture with its ground truth.

    Args:
        image: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres along the optical axis, NaN where there is nothing.
        instances: (H, W) int32 instance id, 0 structure or nothing.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    instances: NDArray[np.int32]


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


def _grid_rays(camera: Camera, columns: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows * columns, 3) camera-frame directions with z = 1 through the centres of pixels given by integer index."""
    x = ((columns + 0.5 - camera.cx) / camera.fx).astype(np.float32)
    y = ((rows + 0.5 - camera.cy) / camera.fy).astype(np.float32)
    rays = np.ones((len(y), len(x), 3), dtype=np.float32)
    rays[..., 0], rays[..., 1] = x, y[:, None]
    return rays.reshape(-1, 3)


@lru_cache(maxsize=16)
def _camera_rays(camera: Camera) -> NDArray[np.float32]:
    rays = _grid_rays(camera, np.arange(camera.width), np.arange(camera.height))
    rays.setflags(write=False)
    return rays


def _embree(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> rtcore_scene.EmbreeScene:
    scene = rtcore_scene.EmbreeScene(robust=True)
    TriangleMesh(scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))
    return scene


def _finer(camera: Camera, factor: int) -> Camera:
    """The same camera with ``factor`` times as many pixels along each side."""
    w, h, fx, fy, cx, cy = (
        value * factor for value in (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    )
    return Camera(int(w), int(h), fx, fy, cx, cy)


class Renderer:
    """Renders one mesh from any number of cameras.

    Args:
        mesh: what to render.
        face_materials: (F,) uint8 `Material` codes for solid textures; None renders plain colours.
    """

    def __init__(self, mesh: SceneMesh, face_materials: NDArray[np.uint8] | None = None) -> None:
        self.mesh = mesh
        self._scene = _embree(mesh.vertices, mesh.faces)
        self._face_instances = np.append(mesh.face_instances, np.int32(0))  # the last entry answers for "no hit"
        self._face_materials = None if face_materials is None else np.append(face_materials, np.uint8(0))
        corners = srgb_to_linear(mesh.colors).astype(np.float32)[mesh.faces]  # (F, 3 corners, 3)
        self._uniform = bool((corners == corners[:, :1]).all())
        corners = np.concatenate([corners, np.zeros((1, 3, 3), np.float32)])
        self._face_colors = corners[:, 0].T.copy() if self._uniform else corners
        self._normals = np.append(_face_normals(mesh), [[0, 0, 1]], axis=0).T.astype(np.float32).copy()  # (3, F + 1)
        self._objects: dict[int, rtcore_scene.EmbreeScene] = {}

    def _cast(self, rays_cam: NDArray[np.float32], T_world_cam: NDArray[np.float64]) -> tuple[NDArray[np.float32], dict]:
        """World-frame directions (N, 3) and Embree's hits of rays from the camera's centre."""
        directions = rays_cam @ np.ascontiguousarray(T_world_cam[:3, :3].T, dtype=np.float32)
        origins = np.broadcast_to(T_world_cam[:3, 3].astype(np.float32), directions.shape).copy()
        return directions, self._scene.run(origins, directions, output=True)

    def trace(self, camera: Camera, T_world_cam: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Only the geometry: depth (H, W) float32 metres, NaN where nothing, and instance ids (H, W) int32."""
        _, hits = self._cast(_camera_rays(camera), T_world_cam)
        return self._geometry(camera, hits)

    def _geometry(self, camera: Camera, hits: dict) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        depth = np.where(hits["tfar"] < _NO_HIT, hits["tfar"], np.float32(np.nan))
        shape = (camera.height, camera.width)
        return depth.reshape(shape), self._face_instances[hits["primID"]].reshape(shape)

    def render(
        self,
        camera: Camera,
        T_world_cam: NDArray[np.float64],
        look: Look | None = None,
        rng: np.random.Generator | None = None,
    ) -> Rendering:
        """A picture with depth and instance ids.

        Args:
            camera: intrinsics and picture size.
            T_world_cam: (4, 4) camera-to-world, OpenCV axes.
            look: light and exposure; default: soft light from above.
            rng: for the look's pixel noise.

        Raises:
            SdvlmError: the look asks for noise and there is no generator.
        """
        look = look or Look()
        rays = _camera_rays(camera)
        directions, hits = self._cast(rays, T_world_cam)
        depth, instances = self._geometry(camera, hits)
        origin = T_world_cam[:3, 3].astype(np.float32)
        if look.supersample == 1:
            light = self._shade(origin, directions, hits, look).T.reshape(camera.height, camera.width, 3)
        else:
            k = look.supersample
            fine = _finer(camera, k)
            directions, hits = self._cast(_camera_rays(fine), T_world_cam)
            light = self._shade(origin, directions, hits, look)
            light = light.reshape(3, camera.height, k, camera.width, k).mean(axis=(2, 4)).transpose(1, 2, 0)
        return Rendering(develop(light, look, rng), depth, instances)

    def _shade(
        self, origin: NDArray[np.float32], directions: NDArray[np.float32], hits: dict, look: Look
    ) -> NDArray[np.float32]:
        """(3, N) linear light that leaves the hit points towards the camera."""
        face, depth = hits["primID"], np.minimum(hits["tfar"], np.float32(_NO_HIT))
        depth = np.where(face >= 0, depth, np.float32(0))
        points = origin[:, None] + directions.T * depth
        normals = self._normals[:, face]
        normals *= np.where((normals * directions.T).sum(axis=0) > 0, np.float32(-1), np.float32(1))
        light = self._illumination(points, normals, look)
        if self._face_materials is not None and look.texture_strength > 0:
            light *= texture_gain(points, self._face_materials[face], depth, look.texture_seed, look.texture_strength)
        if self._uniform:
            light *= self._face_colors[:, face]
        else:
            u, v = hits["u"], hits["v"]
            weights = np.stack([1 - u - v, u, v])
            light *= np.einsum("kn,nkc->cn", weights, self._face_colors[face])
        return light

    def _illumination(self, points: NDArray[np.float32], normals: NDArray[np.float32], look: Look) -> NDArray[np.float32]:
        """(3, N) light arriving at points (3, N) with unit normals (3, N)."""
        sky = np.float32(look.ambient) * (np.float32(0.85) + np.float32(0.15) * normals[2])
        light = np.repeat(sky[None], 3, axis=0)
        for lamp in look.lights:
            away = np.array(lamp.position, dtype=np.float32)[:, None] - points
            squared = (away * away).sum(axis=0)
            facing = np.maximum((away * normals).sum(axis=0), 0) / np.sqrt(squared)
            strength = facing / (np.float32(0.25) + np.float32(0.12) * squared)
            if look.shadows:
                lit = np.flatnonzero(strength > 1e-3)
                start = (points[:, lit] + normals[:, lit] * np.float32(2e-3)).T.copy()
                way = (np.array(lamp.position, dtype=np.float32) - start).copy()
                blocked = self._scene.run(start, way, np.full(len(lit), 0.999, np.float32), query="OCCLUDED") >= 0
                strength[lit[blocked]] = 0
            light += strength * np.array(lamp.power, dtype=np.float32)[:, None]
        return light

    def amodal(self, camera: Camera, T_world_cam: NDArray[np.float64], ids: tuple[int, ...]) -> dict[int, Amodal]:
        """What each object would cover if it stood alone: its own triangles only, rays only where it projects."""
        T_cam_world = np.linalg.inv(T_world_cam)
        points = self.mesh.vertices @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        return {one: self._amodal_one(one, camera, T_world_cam, points) for one in ids}

    def amodal_counts(self, camera: Camera, T_world_cam: NDArray[np.float64], ids: tuple[int, ...]) -> dict[int, int]:
        """Pixels of the picture each object would cover if nothing were before it."""
        return {one: extent.inside for one, extent in self.amodal(camera, T_world_cam, ids).items()}

    def _amodal_one(
        self, instance: int, camera: Camera, T_world_cam: NDArray[np.float64], points_cam: NDArray[np.float64]
    ) -> Amodal:
        own = points_cam[self.mesh.instances == instance]
        if len(own) == 0 or own[:, 2].max() <= _NEAR_M:
            return Amodal(0, 0)
        w, h = camera.size
        if own[:, 2].min() > _NEAR_M:
            u = camera.fx * own[:, 0] / own[:, 2] + camera.cx
            v = camera.fy * own[:, 1] / own[:, 2] + camera.cy
            x0, x1 = np.clip([np.floor(u.min()) - 1, np.ceil(u.max()) + 1], -w, 2 * w).astype(int)
            y0, y1 = np.clip([np.floor(v.min()) - 1, np.ceil(v.max()) + 1], -h, 2 * h).astype(int)
        else:  # it reaches behind the camera, so it may project anywhere
            x0, x1, y0, y1 = -w, 2 * w, -h, 2 * h
        inside = self._count(instance, camera, T_world_cam, np.arange(max(0, x0), min(w, x1)), np.arange(max(0, y0), min(h, y1)))
        outside = 0
        if x0 < -1 or y0 < -1 or x1 > w + 1 or y1 > h + 1:
            step = max(1, round(((x1 - x0) * (y1 - y0) / _OUTSIDE_RAYS) ** 0.5))
            columns, rows = np.arange(x0, x1, step), np.arange(y0, y1, step)
            beyond = ((columns < 0) | (columns >= w)) | ((rows < 0) | (rows >= h))[:, None]
            outside = self._count(instance, camera, T_world_cam, columns, rows, beyond) * step * step
        return Amodal(inside, outside)

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
        rays = _grid_rays(camera, columns, rows)
        if chosen is not None:
            rays = rays[chosen.ravel()]
        if len(rays) == 0:
            return 0
        if instance not in self._objects:
            self._objects[instance] = _embree(self.mesh.vertices, self.mesh.faces[self.mesh.face_instances == instance])
        directions = rays @ np.ascontiguousarray(T_world_cam[:3, :3].T, dtype=np.float32)
        origins = np.broadcast_to(T_world_cam[:3, 3].astype(np.float32), directions.shape).copy()
        return int(np.count_nonzero(self._objects[instance].run(origins, directions, query="OCCLUDED") >= 0))


def _face_normals(mesh: SceneMesh) -> NDArray[np.float64]:
    """(F, 3) unit normals; zero-area faces get +z."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-30), np.array([0.0, 0.0, 1.0]))
