"""Where a person or a robot would take a picture of a room."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.types import Camera

__all__ = ["ViewConfig", "look_at", "sample_cameras"]

_PROBE_WIDTH = 48


@dataclass(frozen=True)
class ViewConfig:
    """What viewpoints are drawn from."""

    fov_x_deg: tuple[float, float] = (40.0, 95.0)
    """horizontal field of view, degrees"""
    height_m: tuple[float, float] = (0.8, 1.8)
    """height of the eye above the floor, metres"""
    tilt_deg: tuple[float, float] = (0.0, 30.0)
    """how far the camera looks down, degrees"""
    clearance_m: float = 0.3
    """least distance from walls and things"""
    objects: int = 5
    """a viewpoint that sees fewer is replaced by a better one if there is one"""
    tries: int = 12
    """draws for each viewpoint"""


def look_at(yaw_rad: float, tilt_rad: float, position: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) pose T_world_cam of a camera without roll, heading ``yaw_rad`` (about +z from +x), tilted down."""
    forward = np.array(
        [math.cos(yaw_rad) * math.cos(tilt_rad), math.sin(yaw_rad) * math.cos(tilt_rad), -math.sin(tilt_rad)]
    )
    right = np.array([math.sin(yaw_rad), -math.cos(yaw_rad), 0.0])
    T = np.eye(4)
    T[:3, 0], T[:3, 1], T[:3, 2], T[:3, 3] = right, np.cross(forward, right), forward, position
    return T


def _is_free(room: Room, position: NDArray[np.float64], clearance: float) -> bool:
    for item in room.objects:
        local = item.box.rotation.T @ (position - item.box.center)
        if (np.abs(local) < item.box.size / 2 + clearance).all():
            return False
    return True


def _score(renderer: Renderer, camera: Camera, pose: NDArray[np.float64]) -> float:
    """Number of things seen well in a tiny rendering, less a fine for one that fills the view or stands too near."""
    height = max(8, round(_PROBE_WIDTH * camera.height / camera.width))
    probe = Camera.from_fov(_PROBE_WIDTH, height, camera.fov_x_deg)
    depth, instances = renderer.trace(probe, pose)
    counts = np.bincount(instances.ravel())[1:]
    seen = float(np.count_nonzero(counts >= 0.006 * instances.size))
    largest = float(counts.max(initial=0)) / instances.size
    return seen - 6.0 * max(0.0, largest - 0.35) - (3.0 if np.nanpercentile(depth, 5) < 0.5 else 0.0)


def sample_cameras(
    room: Room,
    rng: np.random.Generator,
    count: int,
    image_size: tuple[int, int] = (320, 240),
    config: ViewConfig | None = None,
    renderer: Renderer | None = None,
) -> list[tuple[Camera, NDArray[np.float64]]]:
    """Viewpoints in the free space of a room that see several objects.

    Args:
        room: where.
        rng: decides everything.
        count: how many.
        image_size: (width, height) of the pictures.
        config: ranges of field of view, height and tilt.
        renderer: of the room's mesh; made if not given.

    Returns:
        ``count`` pairs of intrinsics and (4, 4) pose T_world_cam.
    """
    config = config or ViewConfig()
    renderer = renderer or Renderer(room.mesh)
    return [_best_view(room, rng, image_size, config, renderer) for _ in range(count)]


def _best_view(
    room: Room, rng: np.random.Generator, image_size: tuple[int, int], config: ViewConfig, renderer: Renderer
) -> tuple[Camera, NDArray[np.float64]]:
    best, best_score = None, -math.inf
    camera = Camera.from_fov(*image_size, float(rng.uniform(*config.fov_x_deg)))
    for attempt in range(config.tries):
        position = _free_position(room, rng, config)
        target = room.objects[int(rng.integers(len(room.objects)))].box.center
        middle = np.array([0.0, 0.0]) if attempt % 2 else rng.uniform(-0.3, 0.3, 2) * room.size[:2]
        toward = 0.6 * target[:2] + 0.4 * middle - position[:2]
        yaw = math.atan2(toward[1], toward[0]) + rng.normal(0, 0.15)
        pose = look_at(yaw, math.radians(rng.uniform(*config.tilt_deg)), position)
        score = _score(renderer, camera, pose)
        if score > best_score:
            best, best_score = pose, score
        if best_score >= config.objects + 0.5 * rng.integers(0, 5):
            break
    assert best is not None
    return camera, best


def _free_position(room: Room, rng: np.random.Generator, config: ViewConfig) -> NDArray[np.float64]:
    position = np.zeros(3)
    for _ in range(40):
        height = min(rng.uniform(*config.height_m), room.size[2] - 0.3)
        position = np.array([*rng.uniform(-0.5, 0.5, 2) * (room.size[:2] - 2 * config.clearance_m), height])
        if _is_free(room, position, config.clearance_m):
            break
    return position
