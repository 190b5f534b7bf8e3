"""The annotated mesh of a ScanNet++ scene and its objects."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.scannet_mesh import annotation_groups, mesh_geometry, segment_ids
from sdvlm.scenes.scannetpp_layout import ScannetppPaths
from sdvlm.scenes.scene import SceneMesh, SceneObject
from sdvlm.scenes.upright_box import axis_aligned_box, upright_box
from sdvlm.types import Box3D, SdvlmError

__all__ = ["BoxKind", "annotated_box", "read_scannetpp_objects"]

logger = logging.getLogger(__name__)

BoxKind = Literal["oriented", "axis_aligned", "annotated"]

_NOT_THINGS = frozenset(("remove", "split"))
"""labels of the annotation process, not of things"""
_UPRIGHT = 0.99
_SLACK_M = 0.05
_CONTAINED = 0.98


def annotated_box(obb: dict[str, Any], vertices: NDArray[np.floating]) -> Box3D | None:
    """An upright box from the annotation's ``obb``; None if it is not upright or does not hold the object's vertices.

    Args:
        obb: ``centroid``, ``axesLengths`` (full extents) and ``normalizedAxes``, three axes one after the other.
        vertices: (N, 3) of the object, in the same frame.
    """
    try:
        center, sides = (np.array(obb[key], dtype=np.float64).ravel() for key in ("centroid", "axesLengths"))
        axes = np.array(obb["normalizedAxes"], dtype=np.float64).reshape(3, 3)
        vertical = int(np.abs(axes[:, 2]).argmax())
        if abs(axes[vertical, 2]) < _UPRIGHT or center.shape != (3,) or sides.shape != (3,):
            return None
        longer, shorter = sorted({0, 1, 2} - {vertical}, key=lambda axis: -sides[axis])
        heading = axes[longer] * [1, 1, 0] / np.hypot(*axes[longer, :2])
        box = Box3D.from_yaw(center, sides[[longer, shorter, vertical]], float(np.arctan2(heading[1], heading[0])))
    except (KeyError, TypeError, ValueError):
        return None
    local = (np.asarray(vertices, dtype=np.float64) - box.center) @ box.rotation
    held = (np.abs(local) <= box.size / 2 + _SLACK_M).all(axis=1)
    return box if held.mean() >= _CONTAINED else None


def read_scannetpp_objects(paths: ScannetppPaths, box: BoxKind) -> tuple[SceneMesh, tuple[SceneObject, ...]]:
    """The mesh with an instance id for each vertex, and the objects; instance id is ``objectId`` + 1.

    A vertex may belong to several objects; it goes to the one with the fewest vertices, as in the release's own
    single-label case. Boxes are of all of an object's vertices.

    Raises:
        SdvlmError: a file is damaged, or mesh and segments do not belong together.
    """
    vertices, faces, colors = mesh_geometry(paths.mesh)
    segments = segment_ids(paths.segments, paths.mesh, len(vertices))
    owned = []
    for instance, label, of_object, group in annotation_groups(paths.annotation):
        if label.lower() in _NOT_THINGS:
            continue
        own = np.flatnonzero(np.isin(segments, of_object))
        if len(own) == 0:
            logger.warning("%s: object %d (%s) has no vertices; skipped", paths.scene_id, instance - 1, label)
            continue
        owned.append((instance, label, own, group.get("obb")))
    instances = np.zeros(len(vertices), dtype=np.int32)
    for instance, _, own, _ in sorted(owned, key=lambda one: (-len(one[2]), -one[0])):
        instances[own] = instance
    objects = tuple(
        SceneObject(instance, label, _box(box, vertices[own], obb, f"{paths.scene_id}: {label} {instance - 1}"))
        for instance, label, own, obb in owned
    )
    if not objects:
        raise SdvlmError(f"{paths.folder}: the scene is empty, no annotated object is usable")
    return SceneMesh(vertices.astype(np.float32), faces, colors, instances), objects


def _box(kind: BoxKind, vertices: NDArray[np.float64], obb: dict[str, Any] | None, name: str) -> Box3D:
    if kind == "axis_aligned":
        return axis_aligned_box(vertices)
    if kind == "annotated":
        annotated = annotated_box(obb or {}, vertices)
        if annotated is not None:
            return annotated
        logger.info("%s: its annotated box is not upright or not around it; fitted anew", name)
    return upright_box(vertices)
