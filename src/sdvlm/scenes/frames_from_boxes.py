"""What one RGB-D frame sees of boxes (or of masks) when there is no mesh to render: decided by its measured depth.

A pixel belongs to an object where its back-projected point lies in the object's box. How much of an object is hidden
is read from the pixels of the box's outline that the sensor measures in front of the box. Sparse depth (LiDAR) is
spread to the pixels between its points for this (`sdvlm.scenes.spread`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.geometry.boxes import projected_bounds
from sdvlm.geometry.project import invert_pose
from sdvlm.scenes.scene import SceneObject
from sdvlm.scenes.spread import spread_depth
from sdvlm.types import Box3D, Camera, SdvlmError

__all__ = ["Seen", "see_boxes", "see_masks"]

COVERED_SHARE = 0.9
"""a box of which no pixel is seen is surely hidden where this share of its outline is measured before or in it"""
MARGIN_SHARE = 0.05
"""the margin is at most this share of a box's longest side: things on a table stand closer than those in a room"""
_Window = tuple[slice, slice]
"""rows and columns of the picture"""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a frame sees, ready for :func:`sdvlm.data.observe.observe`.

    Args:
        instances: (H, W) int32 instance id per pixel, 0 where none.
        amodal: pixels in which each seen object would be seen if nothing stood before it, by instance id.
        unconfirmed: ids of objects without a seen pixel that the picture may show all the same.
    """

    instances: NDArray[np.int32]
    amodal: dict[int, int]
    unconfirmed: tuple[int, ...] = ()


def see_boxes(
    objects: Sequence[SceneObject],
    depth_m: NDArray[np.floating],
    camera: Camera,
    T_world_cam: NDArray[np.float64],
    *,
    margin_m: float = 0.02,
    depth_tolerance_m: float = 0.1,
) -> Seen:
    """Pixels whose measured point lies in a box; where boxes share a point the smallest one (by volume) has it.

    The lowest part of a box, as high as the margin (at most a quarter of the box), does not count: there lies the
    floor, or whatever the object stands on.

    Args:
        objects: boxes in the world frame (+z up), positive unique ids.
        depth_m: (H, W) metres along the optical axis, NaN where unknown.
        camera: of the depth's size.
        T_world_cam: (4, 4) camera-to-world.
        margin_m: how far outside a box its own points may lie (noise of the sensor, looseness of the box), but no
            more than ``MARGIN_SHARE`` of its longest side.
        depth_tolerance_m: a pixel hides a box where its depth is nearer than the box by more than this.

    Returns:
        The amodal count of an object: the measured pixels that lie in its box (seen, or taken by a smaller box within)
        or clearly before it. Pixels without depth, and those that look past the object, count for nothing. Objects
        without a seen pixel are left out; those of them that nothing was measured to hide (a car beyond the LiDAR's
        reach) are unconfirmed.

    Raises:
        SdvlmError: depth and camera differ in size, ids are not positive and unique, or a margin is negative.
    """
    view = _View(depth_m, camera, T_world_cam, depth_tolerance_m)
    _check_ids(objects)
    if not (math.isfinite(margin_m) and margin_m >= 0):
        raise SdvlmError(f"the margin of a box must be metres >= 0; got {margin_m}")
    instances = np.zeros(view.depth.shape, dtype=np.int32)
    would_be_seen, uncovered = {}, set()
    for thing in sorted(objects, key=lambda one: (-float(np.prod(one.box.size)), one.id)):
        box_cam = thing.box.transformed(view.T_cam_world)
        margin = min(margin_m, MARGIN_SHARE * float(thing.box.size.max()))
        window = _window(box_cam, camera, margin)
        if window is None:
            continue
        inside = view.inside(thing.box, box_cam, window, margin)
        instances[window][inside] = thing.id
        outline, before = view.before(box_cam, window)
        would_be_seen[thing.id] = int(np.count_nonzero(inside | before))
        if np.count_nonzero((inside | before) & outline) < COVERED_SHARE * np.count_nonzero(outline):
            uncovered.add(thing.id)
    return _seen(instances, would_be_seen, uncovered)


def see_masks(
    instances: NDArray[np.integer],
    depth_m: NDArray[np.floating],
    objects: Sequence[SceneObject],
    camera: Camera,
    T_world_cam: NDArray[np.float64],
    *,
    depth_tolerance_m: float = 0.1,
    from_outline: bool = False,
) -> Seen:
    """Pixels as the source's masks say; hidden pixels from the depth before the objects' boxes.

    Boxes that were fitted to the masks end where something hides the object or the picture ends, so nothing is before
    them. ``from_outline`` asks the masks' outlines instead: with a share s of an outline on the picture's edge or
    beside something clearly nearer, (1 - s)^2 of the object counts as visible (a square cut in half has s = 1/3).

    Args:
        instances: (H, W) instance ids of the masks; ids without an object count as nothing.
        depth_m: (H, W) metres along the optical axis, NaN where unknown.
        objects: the masks' objects, boxes in the world frame.
        camera: of the pictures' size.
        T_world_cam: (4, 4) camera-to-world.
        depth_tolerance_m: as in :func:`see_boxes`.
        from_outline: for boxes fitted to these masks (``Scene.box_source``).

    Raises:
        SdvlmError: depth, masks and camera differ in size, or ids are not positive and unique.
    """
    view = _View(depth_m, camera, T_world_cam, depth_tolerance_m)
    _check_ids(objects)
    if instances.shape != view.depth.shape:
        got, want = "x".join(map(str, instances.shape[::-1])), f"{camera.width}x{camera.height}"
        raise SdvlmError(f"masks are {got} pixels but the camera is for {want}; masks must be of the picture's size")
    kept = np.where(np.isin(instances, [thing.id for thing in objects]), instances, 0).astype(np.int32)
    would_be_seen = {}
    for thing in objects:
        shown = int(np.count_nonzero(kept == thing.id))
        box_cam = thing.box.transformed(view.T_cam_world)
        window = _window(box_cam, camera, 0.0)
        hidden = 0
        if window is not None:
            hidden = int(np.count_nonzero(view.before(box_cam, window)[1] & (kept[window] != thing.id)))
        if from_outline and shown:
            open_share = 1 - view.hidden_outline(kept == thing.id)
            hidden = max(hidden, math.ceil(shown / max(open_share, 0.01) ** 2) - shown)
        would_be_seen[thing.id] = shown + hidden
    return _seen(kept, would_be_seen)


class _View:
    """One depth picture: which of its points lie in a box, which before it."""

    def __init__(
        self, depth_m: NDArray[np.floating], camera: Camera, T_world_cam: NDArray[np.float64], tolerance_m: float
    ) -> None:
        if depth_m.shape != (camera.height, camera.width):
            got = "x".join(map(str, depth_m.shape[::-1]))
            raise SdvlmError(f"depth is {got} pixels but the camera is for {camera.width}x{camera.height}; resize one")
        if not (math.isfinite(tolerance_m) and tolerance_m >= 0):
            raise SdvlmError(f"the depth tolerance must be metres >= 0; got {tolerance_m}")
        self.depth = spread_depth(np.asarray(depth_m, dtype=np.float32))
        self.T_world_cam, self.T_cam_world = np.asarray(T_world_cam), invert_pose(T_world_cam)
        self.tolerance_m = tolerance_m
        self._x = ((np.arange(camera.width) + 0.5 - camera.cx) / camera.fx).astype(np.float32)
        self._y = ((np.arange(camera.height) + 0.5 - camera.cy) / camera.fy).astype(np.float32)

    def inside(self, box: Box3D, box_cam: Box3D, window: _Window, margin_m: float) -> NDArray[np.bool_]:
        """(h, w) bool: measured points of the window that lie in the box, its foot left out."""
        depth = self.depth[window]
        directions = self._along(box_cam.rotation.T, window)
        center = box_cam.rotation.T @ box_cam.center
        reach = box.size / 2 + margin_m
        with np.errstate(invalid="ignore"):
            within = np.abs(directions[0] * depth - center[0]) <= reach[0]
            for axis in (1, 2):
                within &= np.abs(directions[axis] * depth - center[axis]) <= reach[axis]
            bottom, top = box.corners()[:, 2].min(), box.corners()[:, 2].max()
            foot = bottom + min(margin_m, 0.25 * (top - bottom)) - self.T_world_cam[2, 3]
            (upwards,) = self._along(self.T_world_cam[2:3, :3], window)
            within &= upwards * depth >= foot
        return np.asarray(within)

    def before(self, box_cam: Box3D, window: _Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(h, w) bool: pixels of the window whose ray meets the box; those whose measured point lies clearly before it.

        Slab test (Kay and Kajiya 1986); rays have z = 1, so the ray parameter is the depth.
        """
        center = box_cam.rotation.T @ box_cam.center
        enters, leaves = np.float32(0.0), np.float32(np.inf)
        for direction, middle, half in zip(
            self._along(box_cam.rotation.T, window), center, box_cam.size / 2, strict=True
        ):
            with np.errstate(divide="ignore", invalid="ignore"):
                one, other = (middle - half) / direction, (middle + half) / direction
            enters, leaves = np.fmax(enters, np.fmin(one, other)), np.fmin(leaves, np.fmax(one, other))
        with np.errstate(invalid="ignore"):
            meets = np.asarray(enters <= leaves)
            return meets, np.asarray(meets & (self.depth[window] < enters - self.tolerance_m))

    def hidden_outline(self, mask: NDArray[np.bool_]) -> float:
        """Share of a mask's outline (sides of pixels) at the picture's edge or beside something clearly nearer."""
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        own = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
        depth = np.pad(self.depth, 1, constant_values=-np.inf)[rows[0] : rows[-1] + 3, columns[0] : columns[-1] + 3]
        outline = covered = 0
        for axis in (0, 1):
            for step in (-1, 1):
                side = own & ~np.roll(own, step, axis)
                with np.errstate(invalid="ignore"):
                    nearer = np.roll(depth, step, axis) < depth - self.tolerance_m
                at_edge = np.isneginf(np.roll(depth, step, axis))
                outline += int(np.count_nonzero(side))
                covered += int(np.count_nonzero(side & (nearer | at_edge)))
        return covered / outline

    def _along(self, axes: NDArray[np.float64], window: _Window) -> NDArray[np.float32]:
        """(k, h, w) components of the window's rays (z = 1) along k axes (k, 3)."""
        x, y = self._x[window[1]], self._y[window[0]][:, None]
        axes = axes.astype(np.float32)
        return np.stack([axis[0] * x + axis[1] * y + axis[2] for axis in axes])


def _check_ids(objects: Sequence[SceneObject]) -> None:
    ids = [thing.id for thing in objects]
    if len(set(ids)) != len(ids) or any(one <= 0 for one in ids):
        raise SdvlmError("instance ids must be positive and unique in a frame; renumber the objects from 1")


def _window(box_cam: Box3D, camera: Camera, margin_m: float) -> _Window | None:
    """The part of the picture the (grown) box projects into, None if there is none."""
    bounds = projected_bounds(Box3D(box_cam.center, box_cam.size + 2 * margin_m, box_cam.rotation), camera)
    if bounds is None:
        return None
    left, right = np.clip([math.floor(bounds[0]), math.ceil(bounds[2])], 0, camera.width).tolist()
    top, bottom = np.clip([math.floor(bounds[1]), math.ceil(bounds[3])], 0, camera.height).tolist()
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _seen(instances: NDArray[np.int32], would_be_seen: Mapping[int, int], uncovered: Collection[int] = ()) -> Seen:
    found = set(np.unique(instances).tolist()) - {0}
    return Seen(instances, {one: would_be_seen[one] for one in sorted(found)}, tuple(sorted(set(uncovered) - found)))
