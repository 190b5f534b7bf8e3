"""Procedural rooms: furnished, plausible, without overlaps, every object with its true box and colour.

World frame: metres, z up, floor at z = 0, the origin in the middle of the floor. Everything is decided by the generator
handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.furniture import Material
from sdvlm.scenes.groups import GROUPS, fixtures
from sdvlm.scenes.layout import Layout, Placed
from sdvlm.scenes.scene import SceneMesh, SceneObject
from sdvlm.scenes.upright_box import upright_box
from sdvlm.types import SdvlmError

__all__ = ["ROOM_KINDS", "Room", "RoomConfig", "make_room"]

ROOM_KINDS: dict[str, tuple[str, ...]] = {
    "living": ("lounge", "screen", "pictures", "storage", "clutter", "seats", "storage", "clutter"),
    "bedroom": ("sleep", "storage", "storage", "pictures", "work", "clutter", "seats", "clutter"),
    "office": ("work", "work", "storage", "clutter", "pictures", "work", "seats", "storage", "clutter"),
    "dining": ("dining", "storage", "storage", "pictures", "clutter", "seats", "clutter", "screen"),
    "bathroom": ("bath", "storage", "clutter", "clutter", "seats", "pictures"),
    "studio": ("sleep", "lounge", "work", "dining", "storage", "clutter", "pictures", "clutter"),
    "store": ("storage", "clutter", "storage", "clutter", "seats", "clutter", "storage", "seats"),
}
"""Groups of each kind of room, the ones that make it what it is first."""

_WALL_COLORS = ((238, 235, 226), (226, 228, 230), (232, 222, 202), (206, 218, 226), (214, 226, 208), (228, 208, 204))
_FLOORS: tuple[tuple[Material, tuple[tuple[int, int, int], ...]], ...] = (
    (Material.PLANKS, ((150, 108, 72), (176, 136, 96), (110, 80, 58), (192, 164, 130))),
    (Material.TILES, ((196, 192, 186), (160, 158, 154), (214, 204, 188))),
    (Material.CARPET, ((142, 138, 134), (112, 116, 128), (160, 148, 128), (128, 112, 108))),
)


def _check_range(name: str, value: tuple[float, float], least: float) -> None:
    if not least <= value[0] <= value[1]:
        raise SdvlmError(f"{name} must be a range (low, high) with {least} <= low <= high; got {value}")


@dataclass(frozen=True)
class RoomConfig:
    """What rooms are drawn from."""

    side_m: tuple[float, float] = (3.0, 10.0)
    """shortest and longest side of the floor, metres; smaller rooms are likelier"""
    height_m: tuple[float, float] = (2.4, 3.2)
    """floor to ceiling, metres"""
    objects: tuple[int, int] = (6, 18)
    """fewest and most objects, doors, windows and pictures included"""
    kinds: tuple[str, ...] = tuple(ROOM_KINDS)
    """kinds of rooms to draw from, names of `ROOM_KINDS`"""

    def __post_init__(self) -> None:
        _check_range("side_m", self.side_m, 2.5)
        _check_range("height_m", self.height_m, 2.3)
        _check_range("objects", self.objects, 1)
        unknown = set(self.kinds) - set(ROOM_KINDS)
        if unknown or not self.kinds:
            raise SdvlmError(
                f"room kinds must be some of {', '.join(ROOM_KINDS)}; got {', '.join(sorted(unknown)) or 'none'}"
            )


@dataclass(frozen=True, eq=False)
class Room:
    """A furnished room.

    Args:
        kind: one of `ROOM_KINDS`.
        size: (3,) width along x, depth along y, height, metres.
        objects: ids from 1 up, in the order they were placed.
        mesh: walls, floor and ceiling (instance 0) and all objects.
        face_materials: (F,) uint8 `Material` codes, for the renderer's texture.
        colors: name of the main colour of each object id.
        supports: what carries each object id: another id, 0 the floor, -1 a wall.
    """

    kind: str
    size: NDArray[np.float64]
    objects: tuple[SceneObject, ...]
    mesh: SceneMesh
    face_materials: NDArray[np.uint8]
    colors: dict[int, str] = field(default_factory=dict)
    supports: dict[int, int] = field(default_factory=dict)


def make_room(rng: np.random.Generator, config: RoomConfig | None = None) -> Room:
    """Draw a room.

    Raises:
        SdvlmError: the configuration asks for more objects than fit (none of 40 draws held enough).
    """
    config = config or RoomConfig()
    for _ in range(40):
        layout, kind = _furnish(rng, config)
        if len(layout.placed) >= config.objects[0]:
            return _finish(rng, layout, kind)
    raise SdvlmError(
        f"no room held {config.objects[0]} objects; allow larger rooms than {config.side_m} m or fewer objects"
    )


def _furnish(rng: np.random.Generator, config: RoomConfig) -> tuple[Layout, str]:
    kind = str(rng.choice(config.kinds))
    low, high = config.side_m
    sides = low + (high - low) * rng.beta(1.2, 3.0, size=2)
    if kind == "bathroom":
        sides = np.minimum(sides, max(low, 4.0))
    size = np.array([*sides, rng.uniform(*config.height_m)])
    fewest, most = config.objects
    layout = Layout(size, limit=round(fewest + (most - fewest) * rng.beta(2.2, 1.2)))
    fixtures(layout, rng)
    plan = list(ROOM_KINDS[kind])
    for name in plan[:2] + list(rng.permutation(plan[2:])):
        GROUPS[str(name)](layout, rng)
    for _ in range(4):
        if layout.full:
            break
        GROUPS[str(rng.choice(["clutter", "storage", "seats", "pictures"]))](layout, rng)
    return layout, kind


def _shell(rng: np.random.Generator, size: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """Floor, ceiling and four walls, one maybe accented: vertices, faces, colours, materials."""
    x, y, z = size / np.array([2, 2, 1])
    corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    material, tones = _FLOORS[rng.integers(len(_FLOORS))]
    floor = np.array(tones[rng.integers(len(tones))]) * rng.uniform(0.85, 1.1)
    wall = np.array(_WALL_COLORS[rng.integers(len(_WALL_COLORS))]) * rng.uniform(0.93, 1.03)
    accent = np.array(_WALL_COLORS[rng.integers(len(_WALL_COLORS))]) * rng.uniform(0.7, 0.95)
    quads = [np.column_stack([corners, np.full(4, height)]) for height in (0.0, z)]
    colors, materials = [floor, np.full(3, 240.0)], [material, Material.PLAIN]
    for side in range(4):
        a, b = corners[side], corners[(side + 1) % 4]
        quads.append(np.array([[*a, 0.0], [*b, 0.0], [*b, z], [*a, z]]))
        colors.append(accent if side == 0 and rng.random() < 0.4 else wall)
        materials.append(Material.PLAIN)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    all_faces = np.vstack([faces + 4 * index for index in range(len(quads))])
    return np.vstack(quads), all_faces, np.repeat(np.array(colors), 4, axis=0), np.repeat(np.array(materials), 2)


def _finish(rng: np.random.Generator, layout: Layout, kind: str) -> Room:
    """Gather the shell and all models into one mesh; boxes are taken from the float32 vertices the mesh holds."""
    vertices, faces, colors, materials = ([part] for part in _shell(rng, layout.size))
    instances, count = [np.zeros(len(vertices[0]), dtype=np.int32)], len(vertices[0])
    objects = []
    for placed in layout.placed:
        points = placed.to_world(placed.model.vertices)
        vertices.append(points)
        faces.append(placed.model.faces + count)
        colors.append(placed.model.colors)
        materials.append(placed.model.materials)
        instances.append(np.full(len(points), placed.id, dtype=np.int32))
        count += len(points)
        objects.append(SceneObject(placed.id, placed.model.category, upright_box(points.astype(np.float32))))
    mesh = SceneMesh(
        vertices=np.vstack(vertices).astype(np.float32),
        faces=np.vstack(faces).astype(np.int32),
        colors=np.vstack(colors).round().clip(0, 255).astype(np.uint8),
        instances=np.concatenate(instances),
    )
    return Room(
        kind=kind,
        size=layout.size,
        objects=tuple(objects),
        mesh=mesh,
        face_materials=np.concatenate(materials).astype(np.uint8),
        colors={placed.id: placed.model.color for placed in layout.placed},
        supports=_supports(layout.placed),
    )


def _supports(placed: list[Placed]) -> dict[int, int]:
    return {one.id: one.support for one in placed}
