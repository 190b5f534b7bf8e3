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
TOUCH_M = 1e-6
"""boxes nearer than this touch"""

_EDGES = [(i, j) for i, j in itertools.combinations(range(8), 2) if bin(i ^ j).count("1") == 1]


def center_distance(a: Box3D, b: Box3D) -> float:
    """Metres between the centres."""
    return float(np.linalg.norm(a.center - b.center))


def surface_distance(a: Box3D, b: Box3D) -> float:
    """Metres between the closest points of two solid boxes; 0 where they touch or overlap.

    Exact: of two disjoint boxes the closest features are a corner and a box, or two edges that cross. (Alternating
    projection stalls centimetres away on boxes that are almost parallel, a sofa along a wall.)
    """
    if boxes_overlap(a, b):
        return 0.0
    corners_a, corners_b = a.corners(), b.corners()
    candidates = (_to_box(corners_a, b), _to_box(corners_b, a), _crossing_edges(corners_a, corners_b))
    distance = float(min(part.min(initial=np.inf) for part in candidates))
    return 0.0 if distance < TOUCH_M else distance


def _to_box(points: NDArray[np.float64], box: Box3D) -> NDArray[np.float64]:
    """(N,) metres from each of (N, 3) points to the solid box."""
    outside = np.abs((points - box.center) @ box.rotation) - box.size / 2
    return np.asarray(np.linalg.norm(np.maximum(outside, 0.0), axis=1))


def _crossing_edges(corners_a: NDArray[np.float64], corners_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres between those pairs of edges whose closest points lie inside both edges."""
    start, stop = np.array(_EDGES).T
    p, q = corners_a[start, None], corners_b[None, start]
    along_p, along_q = corners_a[stop, None] - p, corners_b[None, stop] - q
    gap = p - q  # [12, 12, 3]
    pp, qq, pq = (np.sum(x * y, axis=-1) for x, y in ((along_p, along_p), (along_q, along_q), (along_p, along_q)))
    gp, gq = np.sum(along_p * gap, axis=-1), np.sum(along_q * gap, axis=-1)
    denominator = pp * qq - pq**2
    crossing = denominator > 1e-12 * pp * qq  # parallel edges: the corners' distances cover them
    safe = np.where(crossing, denominator, 1.0)
    s, t = (pq * gq - qq * gp) / safe, (pp * gq - pq * gp) / safe
    inside = crossing & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    between = gap + s[..., None] * along_p - t[..., None] * along_q
    return np.asarray(np.linalg.norm(between[inside], axis=-1))


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
