"""Ray-cast pictures of a mesh with Embree: colour, depth along the optical axis, instance ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.amodal import Amodal, AmodalProjector
from sdvlm.scenes.develop import develop
from sdvlm.scenes.look import Look
from sdvlm.scenes.palette import srgb_to_linear
from sdvlm.scenes.rays import camera_rays, embree_scene, finer_camera, world_rays
from sdvlm.scenes.scene import SceneMesh
from sdvlm.scenes.texture import texture_gain
from sdvlm.types import Camera

__all__ = ["Amodal", "Renderer", "Rendering"]

_NO_HIT = 1e30
_BAND_RAYS = 8192


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


def _bands(count: int) -> Iterator[slice]:
    """Pieces of a long list of rays, small enough that their arrays stay in the processor's cache."""
    for start in range(0, count, _BAND_RAYS):
        yield slice(start, start + _BAND_RAYS)


class Renderer:
    """Renders one mesh from any number of cameras.

    Args:
        mesh: what to render.
        face_materials: (F,) uint8 `Material` codes for solid textures; None renders plain colours.
    """

    def __init__(self, mesh: SceneMesh, face_materials: NDArray[np.uint8] | None = None) -> None:
        self.mesh = mesh
        self._scene = embree_scene(mesh.vertices, mesh.faces)
        self._face_instances = np.append(mesh.face_instances, np.int32(0))  # the last entry answers for "no hit"
        self._face_materials = None if face_materials is None else np.append(face_materials, np.uint8(0))
        corners = srgb_to_linear(mesh.colors).astype(np.float32)[mesh.faces]  # (F, 3 corners, 3)
        self._uniform = bool((corners == corners[:, :1]).all())
        self._corner_colors = np.concatenate([corners, np.zeros((1, 3, 3), np.float32)])
        self._face_colors = self._corner_colors[:, 0].copy()
        normals = np.append(_face_normals(mesh), [[0, 0, 1]], axis=0)  # (F + 1, 3)
        corner = np.append(mesh.vertices[mesh.faces[:, 0]], [[0, 0, 0]], axis=0)
        self._normals = normals.astype(np.float32)
        self._offsets = (normals * corner).sum(axis=1).astype(np.float32)  # normal . point, anywhere on the face
        self._alone = AmodalProjector(mesh)

    def trace(self, camera: Camera, T_world_cam: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Only the geometry: depth (H, W) float32 metres, NaN where nothing, and instance ids (H, W) int32."""
        depth, instances, _ = self._frame(camera, T_world_cam, None)
        return depth, instances

    def _frame(
        self, camera: Camera, T_world_cam: NDArray[np.float64], look: Look | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        """Depth (H, W), instances (H, W) and linear light (H, W, 3); no light is computed without a look."""
        rays = camera_rays(camera)
        origin = T_world_cam[:3, 3].astype(np.float32)
        depth, instances = np.empty(len(rays), np.float32), np.empty(len(rays), np.int32)
        light = np.empty((0 if look is None else len(rays), 3), np.float32)
        for band in _bands(len(rays)):
            origins, directions = world_rays(rays[band], T_world_cam)
            hits = self._scene.run(origins, directions, output=True)
            depth[band], instances[band] = hits["tfar"], self._face_instances.take(hits["primID"])
            if look is not None:
                light[band] = self._shade(origin, directions, hits, look)
        depth[depth >= _NO_HIT] = np.nan
        shape = (camera.height, camera.width)
        return depth.reshape(shape), instances.reshape(shape), light.reshape((*shape, 3) if look else (0, 0, 3))

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
        k = look.supersample
        if k == 1:
            depth, instances, light = self._frame(camera, T_world_cam, look)
        else:
            depth, instances = self.trace(camera, T_world_cam)
            _, _, light = self._frame(finer_camera(camera, k), T_world_cam, look)
            light = light.reshape(camera.height, k, camera.width, k, 3).mean(axis=(1, 3))
        return Rendering(develop(light, look, rng), depth, instances)

    def _shade(
        self, origin: NDArray[np.float32], directions: NDArray[np.float32], hits: dict, look: Look
    ) -> NDArray[np.float32]:
        """(N, 3) linear light that leaves the hit points towards the camera."""
        face = hits["primID"]
        depth = np.where(face >= 0, hits["tfar"], np.float32(0))
        points = directions * depth[:, None]
        points += origin
        gain = self._illumination(origin, points, directions, face, look)
        if self._face_materials is not None and look.texture_strength > 0:
            texture = texture_gain(points, self._face_materials[face], depth, look.texture_seed, look.texture_strength)
            gain *= texture[:, None]
        if self._uniform:
            gain *= self._face_colors.take(face, axis=0)
        else:
            u, v = hits["u"], hits["v"]
            gain *= np.einsum("nk,nkc->nc", np.stack([1 - u - v, u, v], axis=1), self._corner_colors[face])
        return gain

    def _illumination(
        self,
        origin: NDArray[np.float32],
        points: NDArray[np.float32],
        directions: NDArray[np.float32],
        face: NDArray[np.int32],
        look: Look,
    ) -> NDArray[np.float32]:
        """(N, 3) light arriving at points (N, 3) on the given faces, on the side turned to the camera at ``origin``.

        The cosine at a lamp is (normal . lamp - normal . point) / distance, and normal . point is one number a face.
        """
        side = np.where(self._normals @ origin < self._offsets, np.float32(-1), np.float32(1))
        sky = np.float32(look.ambient) * (np.float32(0.85) + np.float32(0.15) * self._normals[:, 2] * side)
        light = np.repeat(sky.take(face)[:, None], 3, axis=1)
        for lamp in look.lights:
            position = np.array(lamp.position, dtype=np.float32)
            way = position - points
            squared = np.einsum("nc,nc->n", way, way)
            above = np.maximum((self._normals @ position - self._offsets) * side, 0)
            strength = above.take(face) / (np.sqrt(squared) * (np.float32(0.25) + np.float32(0.12) * squared))
            if look.shadows:
                lit = np.flatnonzero(strength > 1e-3)
                away = way.take(lit, axis=0)
                start = points.take(lit, axis=0)
                start -= (directions.take(lit, axis=0) - away) * np.float32(1e-3)  # off the surface, on the seen side
                blocked = self._scene.run(start, away, np.full(len(lit), 0.998, np.float32), query="OCCLUDED") >= 0
                strength[lit[blocked]] = 0
            light += strength[:, None] * np.array(lamp.power, dtype=np.float32)
        return light

    def amodal(self, camera: Camera, T_world_cam: NDArray[np.float64], ids: Iterable[int]) -> dict[int, Amodal]:
        """How much of the picture, and beyond its borders, each object would cover if it stood alone."""
        return self._alone.extents(camera, T_world_cam, ids)

    def amodal_counts(self, camera: Camera, T_world_cam: NDArray[np.float64], ids: Iterable[int]) -> dict[int, int]:
        """Pixels of the picture each object would cover if nothing were before it."""
        return {one: extent.inside for one, extent in self.amodal(camera, T_world_cam, ids).items()}


def _face_normals(mesh: SceneMesh) -> NDArray[np.float64]:
    """(F, 3) unit normals; zero-area faces get +z."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-30), np.array([0.0, 0.0, 1.0]))
