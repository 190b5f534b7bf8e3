"""Standing furniture in a room without collisions: a floor plan that refuses what does not fit.

World frame: z up, floor at z = 0, the origin in the middle of the floor, walls parallel to the axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.furniture import Model
from sdvlm.types import Box3D

__all__ = ["FLOOR", "WALL", "Layout", "Placed"]

FLOOR = 0
"""support id of what stands on the floor"""
WALL = -1
"""support id of what is fixed to a wall"""

_WALL_YAWS = (0.0, math.pi / 2, math.pi, -math.pi / 2)
"""heading of a model whose back is to the +y, -x, -y and +x wall"""


@dataclass(frozen=True, eq=False)
class Placed:
    """A model in the room: id from 1 up, pose of its local frame, what carries it (an id, `FLOOR` or `WALL`)."""

    id: int
    model: Model
    position: NDArray[np.float64]
    yaw_rad: float
    support: int
    box: Box3D

    def to_world(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) local points in the world frame."""
        return points @ _turn(self.yaw_rad).T + self.position


def _turn(yaw: float) -> NDArray[np.float64]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _apart(a: Box3D, b: Box3D, gap: float) -> bool:
    """Whether two upright boxes are at least ``gap`` apart in plan, or clear each other in height."""
    if abs(a.center[2] - b.center[2]) >= (a.size[2] + b.size[2]) / 2 - 1e-6:
        return True
    dx, dy = float(b.center[0] - a.center[0]), float(b.center[1] - a.center[1])
    for box in (a, b):
        cos, sin = float(box.rotation[0, 0]), float(box.rotation[1, 0])
        for ux, uy in ((cos, sin), (-sin, cos)):
            reach = gap
            for other in (a, b):
                c, s = float(other.rotation[0, 0]), float(other.rotation[1, 0])
                reach += (
                    abs(c * ux + s * uy) * float(other.size[0]) / 2 + abs(-s * ux + c * uy) * float(other.size[1]) / 2
                )
            if abs(dx * ux + dy * uy) >= reach:
                return True
    return False


@dataclass
class Layout:
    """The room while it is being furnished.

    Args:
        size: (3,) width along x, depth along y, height, metres.
        limit: how many objects it may hold.
    """

    size: NDArray[np.float64]
    limit: int
    placed: list[Placed] = field(default_factory=list)
    keepouts: list[Box3D] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether the room holds as many objects as it may."""
        return len(self.placed) >= self.limit

    def _fits(self, box: Box3D, support: int, gap: float) -> bool:
        corners = box.corners()
        half = self.size[:2] / 2 + 1e-9
        if (np.abs(corners[:, :2]) > half).any() or corners[:, 2].max() > self.size[2] or corners[:, 2].min() < -1e-9:
            return False
        if support != WALL and not all(_apart(box, keepout, 0.0) for keepout in self.keepouts):
            return False
        others = (other for other in self.placed if other.id != support)
        return all(_apart(box, other.box, gap if other.support == support else 0.005) for other in others)

    def put(
        self, model: Model, position: tuple[float, float, float], yaw: float, support: int = FLOOR, gap: float = 0.02
    ) -> Placed | None:
        """Stand a model at ``position`` (centre of its footprint, bottom) if the room has space for it there."""
        if self.full:
            return None
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = _turn(yaw), position
        box = model.box.transformed(T)
        if not self._fits(box, support, gap):
            return None
        placed = Placed(len(self.placed) + 1, model, T[:3, 3], yaw, support, box)
        self.placed.append(placed)
        return placed

    def against_wall(
        self, model: Model, wall: int, along: float, gap: float, z: float = 0.0, support: int = FLOOR
    ) -> Placed | None:
        """Back to a wall (0: +y, 1: -x, 2: -y, 3: +x), ``gap`` metres off it, ``along`` metres from its middle."""
        yaw = _WALL_YAWS[wall]
        reach = self.size[1 - wall % 2] / 2 - model.extent[1] / 2 - gap
        x = -math.sin(yaw) * reach + math.cos(yaw) * along
        y = math.cos(yaw) * reach + math.sin(yaw) * along
        return self.put(model, (x, y, z), yaw, support)

    def wall_length(self, wall: int) -> float:
        """Metres from corner to corner."""
        return float(self.size[wall % 2])

    def keep_clear(self, placed: Placed, depth: float, low: float, high: float) -> None:
        """Let nothing stand within ``depth`` metres in front of a placed model, between two heights."""
        width = placed.model.extent[0]
        center = placed.to_world(np.array([[0.0, -depth / 2, 0.0]]))[0]
        center[2] = (low + high) / 2
        self.keepouts.append(Box3D.from_yaw(center, np.array([width, depth, high - low]), placed.yaw_rad))
