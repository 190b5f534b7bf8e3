"""The box of a point set: the smallest upright one, or the axis-aligned one ScanNet publishes.

Rooms and the ScanNet reader both take their boxes from here, so an object keeps its box through files.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Box3D, SdvlmError

__all__ = ["axis_aligned_box", "upright_box"]

_SAME_AREA = 1e-4
"""rectangles whose areas differ by less than this fraction count as equally small"""
_SAME_SIDE = 1e-3
"""a footprint whose sides differ by less than this fraction counts as square"""
_SAME_TURN_RAD = 1e-3
"""headings that differ by less than this count as the same"""
_SEAM_RAD = math.radians(7.3)
"""where headings wrap, away from the right angles at which furniture stands"""


def _checked(points: NDArray[np.floating]) -> NDArray[np.float64]:
    checked = np.asarray(points, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != 3 or len(checked) == 0 or not np.isfinite(checked).all():
        raise SdvlmError(f"a box needs a non-empty (N, 3) array of finite points; got shape {checked.shape}")
    return checked


def axis_aligned_box(points: NDArray[np.floating]) -> Box3D:
    """Minimum and maximum of (N, 3) points, metres: ScanNet's own definition of an object's box.

    Raises:
        SdvlmError: no points, or not finite.
    """
    points = _checked(points)
    low, high = points.min(axis=0), points.max(axis=0)
    return Box3D((low + high) / 2, high - low)


def _hull(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, 2) convex hull, counter-clockwise (Andrew's monotone chain), of points (N, 2)."""
    xy = np.unique(xy, axis=0)
    if len(xy) > 24:  # what lies inside the octagon of extreme points cannot be on the hull
        directions = np.array([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]], dtype=np.float64)
        octagon = xy[(xy @ directions.T).argmax(axis=0)]
        edge = np.roll(octagon, -1, axis=0) - octagon
        offset = xy[:, None, :] - octagon
        xy = xy[((edge[:, 0] * offset[..., 1] - edge[:, 1] * offset[..., 0]) <= 1e-12).any(axis=1)]
    points = [(float(x), float(y)) for x, y in xy]
    chains = []
    for ordered in (points, points[::-1]):
        chain: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        chains.append(chain[:-1] or chain)
    return np.array(chains[0] + chains[1])


def _wrap(angle: float, period: float) -> float:
    """The angle shifted by multiples of ``period`` into (-period/2 + seam, period/2 + seam]."""
    low = -period / 2 + _SEAM_RAD
    return angle - period * math.ceil((angle - low) / period - 1)


def _choose(angles: NDArray[np.float64], areas: NDArray[np.float64]) -> int:
    """Index of the rectangle to take: among the smallest the least turned, rather to the left than to the right."""
    small = np.flatnonzero(areas <= areas.min() * (1 + _SAME_AREA) + 1e-12)
    turns = np.array([_wrap(float(angle), math.pi / 2) for angle in angles[small]])
    least = small[np.abs(turns) <= np.abs(turns).min() + _SAME_TURN_RAD]
    left = least[[_wrap(float(angle), math.pi / 2) > 0 for angle in angles[least]]]
    tied = left if len(left) else least
    return int(tied[areas[tied].argmin()])


def upright_box(points: NDArray[np.floating]) -> Box3D:
    """The upright box (its third axis is +z) whose rectangle in plan has the smallest area around the points.

    Written in one way only: the first side is the longer one and its heading lies within half a turn; a square
    footprint takes the heading nearest to zero; of equally small rectangles (round things) the least turned is taken.

    Args:
        points: (N, 3) metres, z up.

    Raises:
        SdvlmError: no points, or not finite.
    """
    points = _checked(points)
    hull = _hull(points[:, :2])
    edges = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    edges = edges[lengths >= min(1e-3 * np.ptp(hull, axis=0).max(), lengths.max())]
    angles = np.arctan2(edges[:, 1], edges[:, 0]) % (math.pi / 2)
    axes = np.stack([np.cos(angles), np.sin(angles)], axis=-1)  # (E, 2), first side of each candidate
    along = axes @ hull.T
    across = np.stack([-axes[:, 1], axes[:, 0]], axis=-1) @ hull.T
    sides = np.stack([np.ptp(along, axis=1), np.ptp(across, axis=1)], axis=-1)
    areas = sides.prod(axis=1)
    best = _choose(angles, areas)
    length, width = sides[best]
    middle_along = (along[best].min() + along[best].max()) / 2
    middle_across = (across[best].min() + across[best].max()) / 2
    (ax, ay), yaw = axes[best], float(angles[best])
    low, high = points[:, 2].min(), points[:, 2].max()
    center = np.array(
        [middle_along * ax - middle_across * ay, middle_along * ay + middle_across * ax, (low + high) / 2]
    )
    if abs(length - width) <= _SAME_SIDE * max(length, width):
        turned = _wrap(yaw, math.pi / 2)
        length, width = (length, width) if round((yaw - turned) / (math.pi / 2)) % 2 == 0 else (width, length)
        return Box3D.from_yaw(center, np.array([length, width, high - low]), turned)
    if width > length:
        length, width, yaw = width, length, yaw + math.pi / 2
    return Box3D.from_yaw(center, np.array([length, width, high - low]), _wrap(yaw, math.pi))
