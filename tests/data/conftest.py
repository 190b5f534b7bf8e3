"""A room of coloured boxes, drawn by casting a ray per pixel: small, exact, independent of the project's renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sdvlm.data.colors import ColorWords
from sdvlm.data.observe import Observation, observe
from sdvlm.scenes.scene import SceneObject
from sdvlm.types import Box3D, Camera

CATEGORIES = ("chair", "armchair", "table", "coffee table", "sofa", "lamp", "cabinet", "bed", "plant", "box")
COLORS = ("red", "blue", "green", "white", "brown")


@dataclass(frozen=True, eq=False)
class BoxRoom:
    """What a frame of a room of boxes is made of."""

    objects: tuple[SceneObject, ...]
    colors: dict[int, ColorWords]
    camera: Camera
    T_world_cam: np.ndarray
    instances: np.ndarray
    depth_m: np.ndarray
    amodal: dict[int, int]

    def observe(self, **options) -> Observation:
        return observe(
            self.objects,
            self.instances,
            self.depth_m,
            self.camera,
            self.T_world_cam,
            amodal=self.amodal,
            colors=self.colors,
            **options,
        )


def look_at(position, target) -> np.ndarray:
    """(4, 4) camera-to-world of an OpenCV camera in a z-up world."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = position
    return T


def cast(box: Box3D, camera: Camera, T_world_cam: np.ndarray) -> np.ndarray:
    """(H, W) depth at which each pixel's ray enters the box, inf where it misses (slab test)."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], axis=-1)
    direction = rays @ T_world_cam[:3, :3].T @ box.rotation
    origin = (T_world_cam[:3, 3] - box.center) @ box.rotation
    with np.errstate(divide="ignore"):
        t0, t1 = (-box.size / 2 - origin) / direction, (box.size / 2 - origin) / direction
    enter, leave = np.minimum(t0, t1).max(axis=-1), np.maximum(t0, t1).min(axis=-1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def draw(objects, colors, camera: Camera, T_world_cam: np.ndarray) -> BoxRoom:
    """Render boxes, nearest first."""
    sky = np.full((camera.height, camera.width), np.inf)
    layers = np.stack([sky, *(cast(o.box, camera, T_world_cam) for o in objects)])
    nearest = layers.argmin(axis=0)
    instances = np.array([0, *[o.id for o in objects]], dtype=np.int32)[nearest]
    depth = layers.min(axis=0)
    amodal = {o.id: int(np.isfinite(layer).sum()) for o, layer in zip(objects, layers[1:], strict=True)}
    depth_m = np.where(np.isinf(depth), np.nan, depth).astype(np.float32)
    return BoxRoom(tuple(objects), colors, camera, T_world_cam, instances, depth_m, amodal)


def random_room(seed: int, width: int = 96, height: int = 72) -> BoxRoom:
    """Six to fourteen boxes that stand about in front of a camera."""
    rng = np.random.default_rng(seed)
    objects, colors = [], {}
    for index in range(rng.integers(6, 15)):
        size = rng.uniform(0.15, 1.6, 3)
        center = np.array([rng.uniform(-3, 3), rng.uniform(1.5, 7), size[2] / 2 + rng.choice([0, 0.7])])
        box = Box3D.from_yaw(center, size, rng.uniform(-np.pi, np.pi))
        objects.append(SceneObject(10 + 3 * index, str(rng.choice(CATEGORIES)), box))
        name = str(rng.choice(COLORS))
        kind = rng.random()
        if kind < 0.7:
            colors[objects[-1].id] = ColorWords(name, frozenset({name}))
        elif kind < 0.9:
            colors[objects[-1].id] = ColorWords(None, frozenset({name, "gray"}))
    camera = Camera.from_fov(width, height, rng.uniform(45, 90))
    pose = look_at((rng.uniform(-1, 1), -1.0, rng.uniform(1.0, 2.0)), (rng.uniform(-0.7, 0.7), 4.0, 0.6))
    return draw(objects, colors, camera, pose)


@pytest.fixture(scope="session")
def make_room():
    """``random_room(seed)``."""
    return random_room


@pytest.fixture(scope="session")
def draw_boxes():
    """``draw(objects, colors, camera, T_world_cam)``."""
    return draw
