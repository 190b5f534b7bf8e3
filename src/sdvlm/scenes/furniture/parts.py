"""Furniture from parts: blocks, cylinders and ellipsoids gathered into one small mesh.

Local frame of a model: z up, standing on z = 0, footprint centred at the origin, its front towards -y (so a model whose
back is to a wall has that wall at +y).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdvlm.scenes.palette import Color
from sdvlm.scenes.upright_box import upright_box
from sdvlm.types import Box3D

__all__ = ["Material", "Model", "ModelBuilder", "Surface"]


class Material(IntEnum):
    """What a face is made of, for the solid texture of the renderer."""

    PLAIN = 0
    WOOD = 1
    FABRIC = 2
    PLANKS = 3
    TILES = 4
    CARPET = 5


@dataclass(frozen=True)
class Surface:
    """A level rectangle of a model on which smaller things may stand: height and (x0, y0, x1, y1), local metres."""

    z: float
    rect: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Model:
    """One piece of furniture in its local frame.

    Args:
        category: what it is called.
        color: name of its main colour.
        vertices: (V, 3) float64 metres.
        faces: (F, 3) int32.
        colors: (V, 3) uint8 sRGB.
        materials: (F,) uint8 `Material` codes.
        surfaces: where things may stand.
        box: smallest upright box of the vertices.
    """

    category: str
    color: str
    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8]
    materials: NDArray[np.uint8]
    surfaces: tuple[Surface, ...]
    box: Box3D

    @property
    def extent(self) -> NDArray[np.float64]:
        """(3,) width (x), depth (y) and height (z) in the local frame, metres."""
        return np.asarray(np.ptp(self.vertices, axis=0))


_BLOCK = np.array(
    [
        [0, 2, 1],
        [1, 2, 3],
        [4, 5, 6],
        [5, 7, 6],
        [0, 1, 4],
        [1, 5, 4],
        [2, 6, 3],
        [3, 6, 7],
        [0, 4, 2],
        [2, 4, 6],
        [1, 3, 5],
        [3, 7, 5],
    ]
)
_CORNERS = np.array([[x, y] for y in (-0.5, 0.5) for x in (-0.5, 0.5)])


@dataclass
class ModelBuilder:
    """Collects parts; ``main`` is the colour a part takes when none is given."""

    category: str
    main: Color
    material: Material = Material.PLAIN
    _vertices: list[NDArray[np.float64]] = field(default_factory=list)
    _faces: list[NDArray[np.int64]] = field(default_factory=list)
    _colors: list[NDArray[np.float64]] = field(default_factory=list)
    _materials: list[NDArray[np.uint8]] = field(default_factory=list)
    _surfaces: list[Surface] = field(default_factory=list)
    _count: int = 0

    def _add(self, vertices: NDArray[np.float64], faces: NDArray[np.int64], color: Color | None) -> None:
        material = self.material if color is None else Material.PLAIN
        self._faces.append(faces + self._count)
        self._vertices.append(vertices)
        self._colors.append(np.broadcast_to((self.main if color is None else color).rgb, vertices.shape))
        self._materials.append(np.full(len(faces), material, dtype=np.uint8))
        self._count += len(vertices)

    def block(
        self,
        at: tuple[float, float, float],
        size: tuple[float, float, float],
        color: Color | None = None,
        *,
        top: tuple[float, float] | None = None,
        lean: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """A box standing at ``at`` (centre of its bottom); ``top``: another size above; ``lean``: shift of the top."""
        lower = _CORNERS * size[:2] + np.array(at[:2])
        upper = _CORNERS * (size[:2] if top is None else top) + np.array(at[:2]) + np.array(lean)
        z = np.repeat([at[2], at[2] + size[2]], 4)
        self._add(np.column_stack([np.vstack([lower, upper]), z]), _BLOCK, color)

    def cylinder(
        self,
        at: tuple[float, float, float],
        radius: float,
        height: float,
        color: Color | None = None,
        *,
        top_radius: float | None = None,
        sides: int = 12,
    ) -> None:
        """An upright (truncated) cone with closed ends, standing at ``at``."""
        angle = 2 * np.pi * np.arange(sides) / sides
        ring = np.column_stack([np.cos(angle), np.sin(angle)])
        rings = np.vstack([ring * radius, ring * (radius if top_radius is None else top_radius)]) + np.array(at[:2])
        z = np.repeat([at[2], at[2] + height], sides)
        i = np.arange(sides)
        j = (i + 1) % sides
        wall = np.vstack([np.column_stack([i, j, i + sides]), np.column_stack([j, j + sides, i + sides])])
        fan = np.arange(1, sides - 1)
        floor = np.column_stack([np.zeros_like(fan), fan + 1, fan])
        lid = np.column_stack([np.zeros_like(fan), fan, fan + 1]) + sides
        self._add(np.column_stack([rings, z]), np.vstack([wall, floor, lid]), color)

    def ellipsoid(
        self,
        center: tuple[float, float, float],
        radii: ArrayLike,
        color: Color | None = None,
        *,
        sides: int = 8,
        power: float = 1.0,
    ) -> None:
        """A rounded body; ``power`` below 1 makes it boxier (a superellipsoid)."""
        tilt = np.linspace(-np.pi / 2, np.pi / 2, 6)[:, None]
        turn = 2 * np.pi * np.arange(sides)[None, :] / sides + np.pi / sides
        parts = (np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt) + 0 * turn)
        unit = np.stack([np.sign(p) * np.abs(p) ** power for p in parts], axis=-1).reshape(-1, 3)
        i, j = np.meshgrid(np.arange(5), np.arange(sides), indexing="ij")
        a, b = (i * sides + j).ravel(), (i * sides + (j + 1) % sides).ravel()
        faces = np.vstack([np.column_stack([a, b, a + sides]), np.column_stack([b, b + sides, a + sides])])
        faces = faces[sides : 9 * sides]  # without the zero-area triangles at the two poles
        self._add(unit * np.asarray(radii) + np.array(center), faces, color)

    def legs(self, half_x: float, half_y: float, height: float, width: float, color: Color | None = None) -> None:
        """Four square legs whose outer faces lie at ``half_x`` and ``half_y``."""
        for x in (-1, 1):
            for y in (-1, 1):
                at = (x * (half_x - width / 2), y * (half_y - width / 2), 0.0)
                self.block(at, (width, width, height), color)

    def surface(self, z: float, rect: tuple[float, float, float, float]) -> None:
        """Declare a level rectangle (x0, y0, x1, y1) at height ``z`` on which things may stand."""
        self._surfaces.append(Surface(z, rect))

    def build(self) -> Model:
        """The finished model, moved so that it stands on z = 0 with its footprint centred at the origin."""
        vertices = np.vstack(self._vertices)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        shift = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        vertices = vertices - shift
        dx, dy, dz = (float(value) for value in shift)
        surfaces = tuple(
            Surface(s.z - dz, (s.rect[0] - dx, s.rect[1] - dy, s.rect[2] - dx, s.rect[3] - dy)) for s in self._surfaces
        )
        return Model(
            category=self.category,
            color=self.main.name,
            vertices=vertices,
            faces=np.vstack(self._faces).astype(np.int32),
            colors=np.vstack(self._colors).round().clip(0, 255).astype(np.uint8),
            materials=np.concatenate(self._materials),
            surfaces=surfaces,
            box=upright_box(vertices),
        )
