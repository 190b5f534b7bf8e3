"""What one frame sees of a scene: for each object its visible pixels, how much of it is hidden or cut off, its box.

Everything that questions are made of comes from here (facts: MSMU stages 1-3; which thresholds apply is
:mod:`sdvlm.data.select`'s business).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.colors import ColorWords
from sdvlm.geometry.project import invert_pose
from sdvlm.scenes.scene import SceneObject
from sdvlm.types import Box3D, Camera, SdvlmError

__all__ = ["Observation", "ObservedObject", "observe"]

_ANY_COLOR = ColorWords(None, frozenset())
_GRID = np.stack(np.meshgrid(*[np.linspace(-0.45, 0.45, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class ObservedObject:
    """One object as one frame sees it.

    Args:
        object: the scene's object; its box is in the world frame, metres.
        pixel_count: pixels of the picture in which it is seen.
        amodal_count: pixels in which it would be seen if nothing stood before it (inside the picture).
        bounds_px: x0, y0, x1, y1 of the seen pixels, continuous: the right-most pixel j ends at x1 = j + 1.
        centroid_px: mean x, y of the seen pixels' centres.
        truncation: share of its box that lies outside the picture, 0..1 (of a 4 x 4 x 4 grid of points in the box).
        touches_border: a seen pixel lies on the edge of the picture.
        T_cam_world: (4, 4) world-to-camera of the frame.
        colors: colour words of the object; nothing known when no colours were given.
    """

    object: SceneObject
    pixel_count: int
    amodal_count: int
    bounds_px: tuple[float, float, float, float]
    centroid_px: tuple[float, float]
    truncation: float
    touches_border: bool
    T_cam_world: NDArray[np.float64]
    colors: ColorWords = _ANY_COLOR

    @property
    def id(self) -> int:
        """Instance id."""
        return self.object.id

    @property
    def category(self) -> str:
        """Category as the scene names it."""
        return self.object.category

    @property
    def visibility(self) -> float:
        """Seen over would-be-seen pixels, 0..1."""
        return min(1.0, self.pixel_count / max(1, self.amodal_count))

    @cached_property
    def box_cam(self) -> Box3D:
        """Its box in the camera frame, metres."""
        return self.object.box.transformed(self.T_cam_world)

    @cached_property
    def center_cam(self) -> tuple[float, float, float]:
        """Centre of its box in the camera frame: x right, y down, z forward, metres."""
        x, y, z = (self.T_cam_world[:3, :3] @ self.object.box.center + self.T_cam_world[:3, 3]).tolist()
        return x, y, z


@dataclass(frozen=True, eq=False)
class Observation:
    """One frame and the objects it sees.

    Args:
        objects: objects with at least one seen pixel, by instance id.
        scene_objects: every object of the scene, seen or not.
        scene_colors: colour words by instance id, as far as known.
        instances: (H, W) instance id of the seen object per pixel, 0 where none (or where the sensor disagrees).
        depth_m: (H, W) metres along the optical axis, NaN where unknown.
        camera: intrinsics.
        T_world_cam: (4, 4) camera-to-world.
        unconfirmed: objects that the picture may show all the same, though no depth confirms a pixel of them: what is
            beyond the sensor's range, black, glass. Nothing is asked of them, and nothing that they could spoil.
    """

    objects: tuple[ObservedObject, ...]
    scene_objects: tuple[SceneObject, ...]
    scene_colors: Mapping[int, ColorWords]
    instances: NDArray[np.int32]
    depth_m: NDArray[np.float32]
    camera: Camera
    T_world_cam: NDArray[np.float64]
    unconfirmed: tuple[SceneObject, ...] = ()
    _by_id: dict[int, ObservedObject] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {seen.id: seen for seen in self.objects})

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.camera.size

    def object(self, instance_id: int) -> ObservedObject:
        """The seen object with that instance id.

        Raises:
            KeyError: the frame does not see it.
        """
        return self._by_id[instance_id]

    def mask(self, instance_id: int) -> NDArray[np.bool_]:
        """(H, W) bool: the object's seen pixels."""
        return np.asarray(self.instances == instance_id)

    def center_normalised(self, seen: ObservedObject) -> tuple[float, float]:
        """Mean position of its seen pixels divided by the image size: x, y in 0..1."""
        return seen.centroid_px[0] / self.camera.width, seen.centroid_px[1] / self.camera.height

    def depth_range_m(self, instance_id: int) -> tuple[float, float]:
        """Nearest and farthest known depth over the object's seen pixels; NaN, NaN where none is known."""
        depth = self.depth_m[self.mask(instance_id)]
        depth = depth[np.isfinite(depth)]
        return (float(depth.min()), float(depth.max())) if depth.size else (np.nan, np.nan)


def observe(
    objects: Sequence[SceneObject],
    instances: NDArray[np.integer],
    depth_m: NDArray[np.floating],
    camera: Camera,
    T_world_cam: NDArray[np.float64],
    *,
    amodal: Mapping[int, int],
    colors: Mapping[int, ColorWords] | None = None,
    sensor_depth_m: NDArray[np.floating] | None = None,
    depth_tolerance_m: float = 0.1,
    depth_tolerance_share: float = 0.0,
    min_confirmed: float = 1.0,
    unconfirmed: Collection[int] = (),
) -> Observation:
    """Look at a scene through one frame.

    Args:
        objects: every object of the scene, boxes in the world frame.
        instances: (H, W) instance id per pixel as rendered; ids that are not in ``objects`` count as nothing.
        depth_m: (H, W) rendered depth, metres along the optical axis, NaN where nothing was hit.
        camera: intrinsics for this picture size.
        T_world_cam: (4, 4) camera-to-world.
        amodal: pixels each object would fill if it stood alone, by instance id (``Renderer.amodal_counts``).
        colors: colour words by instance id (:func:`sdvlm.data.colors.instance_colors`).
        sensor_depth_m: (H, W) measured depth of the same picture. Where given, a rendered pixel that differs from the
            measurement by more than the tolerance does not count as seen: what stood before it, or moved, hides it.
        depth_tolerance_m: metres.
        depth_tolerance_share: the tolerance is at least this share of the rendered depth (sensors err more far away).
        min_confirmed: pixels without a measurement (glass, black or shiny things, edges) count as seen where at least
            this share of the object's other and these pixels together agrees with the sensor; else they do not. 1, the
            default: they never do.
        unconfirmed: ids of objects that may be in the picture though ``instances`` has no pixel of them.

    Raises:
        SdvlmError: an array is not of the camera's size, two objects share an id, or an id is not positive.
    """
    for name, array in (("instances", instances), ("depth", depth_m), ("sensor depth", sensor_depth_m)):
        if array is not None and array.shape != (camera.height, camera.width):
            got = "x".join(str(n) for n in array.shape[::-1])
            raise SdvlmError(f"{name} is {got} pixels but the camera is for {camera.width}x{camera.height}; resize one")
    ids = np.array([thing.id for thing in objects], dtype=np.int64)
    if len(np.unique(ids)) != len(ids) or (ids <= 0).any():
        raise SdvlmError("instance ids must be positive and unique in a scene; renumber the objects from 1")
    compact = _compact(instances, ids)
    maybe = set(unconfirmed)
    if sensor_depth_m is not None:
        tolerance = np.maximum(depth_tolerance_m, depth_tolerance_share * depth_m)
        lost = _hide(compact, sensor_depth_m, depth_m, tolerance, min_confirmed)
        maybe |= set(ids[lost - 1].tolist())
    T_cam_world = invert_pose(T_world_cam)
    colors = colors or {}
    rows, columns = _marginals(compact, len(ids) + 1)
    counts = rows.sum(axis=1)
    kept = [index for index in range(len(ids)) if counts[index + 1]]
    truncation = _truncation([objects[index].box for index in kept], camera, T_cam_world)
    seen = []
    for index, cut in zip(kept, truncation, strict=True):
        x0, x1, x = _extent(columns[index + 1])
        y0, y1, y = _extent(rows[index + 1])
        thing = objects[index]
        seen.append(
            ObservedObject(
                object=thing,
                pixel_count=int(counts[index + 1]),
                amodal_count=int(amodal.get(thing.id, 0)),
                bounds_px=(x0, y0, x1, y1),
                centroid_px=(x, y),
                truncation=cut,
                touches_border=x0 == 0 or y0 == 0 or x1 == camera.width or y1 == camera.height,
                T_cam_world=T_cam_world,
                colors=colors.get(thing.id, _ANY_COLOR),
            )
        )
    id_map = np.concatenate([[0], ids]).astype(np.int32)[compact]
    depth = np.asarray(depth_m, dtype=np.float32)
    seen.sort(key=lambda one: one.id)
    unsure = tuple(thing for index, thing in enumerate(objects) if thing.id in maybe and not counts[index + 1])
    return Observation(tuple(seen), tuple(objects), colors, id_map, depth, camera, np.asarray(T_world_cam), unsure)


def _compact(instances: NDArray[np.integer], ids: NDArray[np.int64]) -> NDArray[np.intp]:
    """(H, W) position in ``ids`` plus one, 0 for ids that are not in it."""
    highest = int(max(ids.max(initial=0), instances.max(initial=0)))
    table = np.zeros(highest + 2, dtype=np.intp)
    table[ids] = np.arange(1, len(ids) + 1)
    return np.asarray(table[np.maximum(instances, 0)])


def _hide(
    compact: NDArray[np.intp],
    sensor_depth_m: NDArray[np.floating],
    depth_m: NDArray[np.floating],
    tolerance: NDArray[np.floating],
    min_confirmed: float,
) -> NDArray[np.intp]:
    """Set to 0, in place, the pixels at which the sensor does not see what was rendered.

    Returns:
        What has lost every pixel so, and not because all were measured to be covered by something nearer.
    """
    with np.errstate(invalid="ignore"):
        agrees = np.abs(sensor_depth_m - depth_m) <= tolerance
    unknown = np.isnan(sensor_depth_m)
    count = int(compact.max(initial=0)) + 1
    confirmed = np.bincount(compact[agrees], minlength=count)
    unmeasured = np.bincount(compact[unknown], minlength=count)
    doubtful = confirmed < min_confirmed * (confirmed + unmeasured)
    with np.errstate(invalid="ignore"):
        open_to_view = unknown | (sensor_depth_m > depth_m + tolerance)
    rendered_open = np.bincount(compact[open_to_view], minlength=count) > 0
    compact[~(agrees | unknown) | (unknown & doubtful[compact])] = 0
    rendered_open[0] = False
    return np.flatnonzero(rendered_open & (np.bincount(compact.ravel(), minlength=count) == 0))


def _marginals(compact: NDArray[np.intp], n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pixels of each of ``n`` ids per image row and per image column: (n, H) and (n, W)."""
    height, width = compact.shape
    rows = np.bincount((compact * height + np.arange(height)[:, None]).ravel(), minlength=n * height)
    columns = np.bincount((compact * width + np.arange(width)).ravel(), minlength=n * width)
    return rows.reshape(n, height), columns.reshape(n, width)


def _extent(histogram: NDArray[np.intp]) -> tuple[float, float, float]:
    """First edge, last edge and mean centre of the pixels counted along one axis."""
    filled = np.flatnonzero(histogram)
    weights = histogram[filled]
    return float(filled[0]), float(filled[-1] + 1), float(weights @ (filled + 0.5) / weights.sum())


def _truncation(boxes: Sequence[Box3D], camera: Camera, T_cam_world: NDArray[np.float64]) -> list[float]:
    """Share of each box that lies outside the picture, on a grid of points."""
    if not boxes:
        return []
    center = np.stack([box.center for box in boxes])
    size = np.stack([box.size for box in boxes])
    rotation = np.stack([box.rotation for box in boxes])
    points = center[:, None] + np.einsum("nij,npj->npi", rotation, _GRID * size[:, None])  # (n, 64, 3) world
    points_cam = points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
    x, y, z = np.moveaxis(points_cam, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    inside = (z > 0) & (u >= 0) & (u <= camera.width) & (v >= 0) & (v <= camera.height)
    return np.asarray(1 - inside.mean(axis=1)).tolist()  # type: ignore[no-any-return]
