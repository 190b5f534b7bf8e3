"""Oriented 3D boxes: distances, overlap, and what they cover in a picture."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from sdvlm.geometry.project import project
from sdvlm.types import Box3D, Camera

__all__ = ["boxes_overlap", "center_distance", "projected_bounds", "surface_distance"]

NEAR_M = 0.01
"""what lies nearer than this to the camera plane is cut off before projecting"""


def center_distance(a: Box3D, b: Box3D) -> float:
    """Metres between the centres."""
    return float(np.linalg.norm(a.center - b.center))


def surface_distance(a: Box3D, b: Box3D, tolerance_m: float = 1e-6) -> float:
    """Metres between the closest points of two solid boxes; 0 where they touch or overlap.

    Alternating projection onto the two boxes (Cheney & Goldstein 1959) converges to a closest pair of convex sets.
    """
    point = b.center
    previous = np.inf
    for _ in range(2000):
        on_a = _closest_point(a, point)
        point = _closest_point(b, on_a)
        distance = float(np.linalg.norm(on_a - point))
        if previous - distance < tolerance_m * 1e-3:
            break
        previous = distance
    return 0.0 if distance < tolerance_m else distance


def _closest_point(box: Box3D, point: NDArray[np.float64]) -> NDArray[np.float64]:
    local = (point - box.center) @ box.rotation
    return np.asarray(box.center + box.rotation @ np.clip(local, -box.size / 2, box.size / 2))


def boxes_overlap(a: Box3D, b: Box3D, tolerance: float = 0.0) -> bool:
    """Whether the solid boxes share more than ``tolerance`` metres along every separating direction.

    Separating-axis test over the 15 candidate axes (Gottschalk et al. 1996).
    """
    axes = [*a.rotation.T, *b.rotation.T]
    axes += [np.cross(p, q) for p, q in itertools.product(a.rotation.T, b.rotation.T)]
    offset = b.center - a.center
    for axis in axes:
        length = np.linalg.norm(axis)
        if length < 1e-9:
            continue
        unit = axis / length
        reach = 0.5 * (np.abs(unit @ a.rotation) @ a.size + np.abs(unit @ b.rotation) @ b.size)
        if reach - abs(offset @ unit) <= tolerance:
            return False
    return True


_EDGES = [(i, j) for i, j in itertools.combinations(range(8), 2) if bin(i ^ j).count("1") == 1]


def projected_bounds(box_cam: Box3D, camera: Camera) -> tuple[float, float, float, float] | None:
    """Pixel bounds (left, top, right, bottom) of a box given in the camera frame, not clipped to the image.

    Edges that cross the camera plane are cut just in front of it. None when the whole box lies behind the camera.
    """
    corners = box_cam.corners()
    points = [corner for corner in corners if corner[2] >= NEAR_M]
    for i, j in _EDGES:
        p, q = corners[i], corners[j]
        if (p[2] < NEAR_M) != (q[2] < NEAR_M):
            points.append(p + (NEAR_M - p[2]) / (q[2] - p[2]) * (q - p))
    if not points:
        return None
    uv, _ = project(np.array(points), camera)
    (left, top), (right, bottom) = uv.min(axis=0), uv.max(axis=0)
    return float(left), float(top), float(right), float(bottom)
