"""What of a box can be pointed at in a picture: its edges, its centre, the closest points of two boxes.

A point is told by its column and row, continuous pixels (centre of the first pixel at 0.5, 0.5), and its depth along
the optical axis, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.types import Box3D, Camera

__all__ = ["ImagePoint", "Line", "centre_point", "closest_points", "line_along"]

_NEAREST_M = 0.1
_HIDDEN_M = 0.15
"""a point is hidden where the picture shows something this much nearer"""
_ROUNDS = 2000


@dataclass(frozen=True)
class ImagePoint:
    """A point of space as the picture shows it: column and row in pixels, depth in metres."""

    u: float
    v: float
    z: float

    def in_camera(self, camera: Camera) -> NDArray[np.float64]:
        """(3,) the point in the camera frame, metres."""
        return np.array([(self.u - camera.cx) * self.z / camera.fx, (self.v - camera.cy) * self.z / camera.fy, self.z])


@dataclass(frozen=True)
class Line:
    """A line of a box in the picture, parallel to one of its axes.

    Args:
        start, end: its ends; of a vertical line the upper and the lower one.
        length: metres.
        is_edge: an edge of the box rather than the line through its centre.
        hidden: something stands before one of the ends.
    """

    start: ImagePoint
    end: ImagePoint
    length: float
    is_edge: bool
    hidden: bool

    @property
    def span_px(self) -> float:
        """Its length in the picture."""
        return float(np.hypot(self.end.u - self.start.u, self.end.v - self.start.v))


def centre_point(seen: ObservedObject, observation: Observation) -> ImagePoint | None:
    """The centre of an object's box, None where it lies outside the picture."""
    return _image_point(seen.center_cam, observation)


def line_along(seen: ObservedObject, axis: int, observation: Observation) -> Line | None:
    """The line of a box along one of its axes that is best seen: a free edge first, near before far, then the centre.

    Args:
        seen: the object.
        axis: 0, 1 or 2 of its box; 2 is the vertical one.
        observation: of the frame.

    Returns:
        None where no such line lies inside the picture with both ends.
    """
    corners = seen.box_cam.corners()
    bit = 4 >> axis
    starts = [corner for corner in range(8) if not corner & bit]
    pairs = [(corners[at], corners[at | bit], True) for at in starts]
    pairs.append((corners[starts].mean(axis=0), corners[[at | bit for at in starts]].mean(axis=0), False))
    if axis == 2 and seen.object.box.rotation[2, 2] > 0:
        pairs = [(end, start, is_edge) for start, end, is_edge in pairs]  # from top to bottom
    lines = []
    for start_cam, end_cam, is_edge in pairs:
        start, end = _image_point(start_cam, observation), _image_point(end_cam, observation)
        if start is not None and end is not None:
            hidden = _is_hidden(start, observation) or _is_hidden(end, observation)
            lines.append(Line(start, end, float(np.linalg.norm(end_cam - start_cam)), is_edge, hidden))
    return min(lines, key=lambda one: (one.hidden, not one.is_edge, one.start.z + one.end.z), default=None)


def closest_points(
    first: ObservedObject, second: ObservedObject, observation: Observation
) -> tuple[ImagePoint, ImagePoint] | None:
    """Where the boxes of two objects come closest, None where a point lies outside the picture or the boxes meet."""
    a, b = first.box_cam, second.box_cam
    at_a = at_b = np.asarray(b.center)
    for _ in range(_ROUNDS):  # alternating projections: they close in on the closest points of two convex bodies
        at_a = _nearest_in(a, at_b)
        moved = _nearest_in(b, at_a)
        if np.abs(moved - at_b).max() < 1e-9:
            break
        at_b = moved
    if np.linalg.norm(at_a - at_b) < 1e-3:
        return None
    points = _image_point(at_a, observation), _image_point(at_b, observation)
    return None if points[0] is None or points[1] is None else (points[0], points[1])


def _nearest_in(box: Box3D, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point of a box nearest to a point."""
    own = np.clip((point - box.center) @ box.rotation, -box.size / 2, box.size / 2)
    return np.asarray(box.center + box.rotation @ own)


def _image_point(point_cam: ArrayLike, observation: Observation) -> ImagePoint | None:
    camera = observation.camera
    x, y, z = np.asarray(point_cam, dtype=np.float64).tolist()
    if z < _NEAREST_M:
        return None
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    return ImagePoint(u, v, z) if 0 <= u <= camera.width and 0 <= v <= camera.height else None


def _is_hidden(point: ImagePoint, observation: Observation) -> bool:
    height, width = observation.depth_m.shape
    shown = float(observation.depth_m[min(int(point.v), height - 1), min(int(point.u), width - 1)])
    return shown < point.z - _HIDDEN_M
