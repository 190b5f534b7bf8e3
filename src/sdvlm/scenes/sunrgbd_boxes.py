"""SUN RGB-D's 3D annotation to boxes: the JSON of each picture, in the z-up frame whose origin is the camera."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.raw import one_line
from sdvlm.scenes.scene import SceneObject
from sdvlm.scenes.upright_box import upright_box
from sdvlm.types import Box3D, SdvlmError

__all__ = ["clean_label", "json_objects", "read_annotation", "toolbox_box"]

_MAX_BYTES = 64 * 2**20
_LARGEST_M = 30.0
_SQUARE = 0.05
"""how far (as a cosine) the sides of an annotated rectangle may be from right angles"""
logger = logging.getLogger(__name__)


def clean_label(label: str) -> str:
    """ "Night_Stand:2" to "night stand"."""
    return label.split(":")[0].replace("_", " ").strip().lower()


def toolbox_box(basis: NDArray[np.float64], coeffs: NDArray[np.float64], centroid: NDArray[np.float64]) -> Box3D:
    """A box of the toolbox: rows of ``basis`` (3, 3) are its axes, ``coeffs`` (3,) half sizes, in metres.

    Raises:
        SdvlmError: the axes are not at right angles, or a size is not positive and below 30 m.
    """
    size = 2 * np.abs(np.asarray(coeffs, dtype=np.float64).reshape(3))
    if not (np.isfinite(size).all() and (size > 0).all() and (size < _LARGEST_M).all()):
        raise SdvlmError(f"half sizes must be metres between 0 and {_LARGEST_M / 2:g}; got {coeffs}")
    axes = np.asarray(basis, dtype=np.float64).reshape(3, 3)
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if not np.isfinite(axes).all() or (lengths < 1e-6).any():
        raise SdvlmError("axes must be finite and not zero")
    rotation = (axes / lengths).T
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1  # a box is the same solid with an axis turned round
    if not np.allclose(rotation.T @ rotation, np.eye(3), atol=_SQUARE):
        raise SdvlmError("axes must stand at right angles")
    left, _, right = np.linalg.svd(rotation)
    return Box3D(np.asarray(centroid, dtype=np.float64).reshape(3), size, left @ right)


def json_objects(path: Path) -> tuple[SceneObject, ...]:
    """Objects of ``annotation3Dfinal/index.json``; ids are positions in its list, from 1.

    Each is a rectangle in plan (``X`` right, ``Z`` forward) between two heights (``Ymin``, ``Ymax``, down), in the
    level frame of the annotation tool; what is no such thing is left out with a message in the log.

    Raises:
        SdvlmError: unreadable.
    """
    objects = []
    for number, entry in enumerate(read_annotation(path)["objects"]):
        if not entry:
            continue  # deleted by an annotator
        try:
            box = _rectangle_box(entry["polygon"][0])
            label = clean_label(str(entry["name"]))
            if not label:
                raise SdvlmError("has no name")
        except (KeyError, IndexError, TypeError, ValueError) as error:  # SdvlmError is a ValueError
            logger.info("%s: object %d left out: %s", path, number, one_line(error))
            continue
        objects.append(SceneObject(number + 1, label, box))
    return tuple(objects)


def read_annotation(path: Path) -> dict[str, Any]:
    """The JSON of an annotation, with lists under "objects" and "frames".

    Raises:
        SdvlmError: missing, damaged or of another form.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SdvlmError(f"{path}: is larger than {_MAX_BYTES >> 20} MiB; is it an annotation?")
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        objects, frames = found.get("objects") or [], found.get("frames") or []
    except (OSError, json.JSONDecodeError, AttributeError, RecursionError) as error:
        raise SdvlmError(f"{path}: is no readable annotation: {one_line(error)}") from error
    if not isinstance(objects, list) or not isinstance(frames, list):
        raise SdvlmError(f"{path}: 'objects' and 'frames' must be lists")
    return {"objects": objects, "frames": frames}


def _rectangle_box(polygon: dict[str, Any]) -> Box3D:
    """As the toolbox makes it of the first three corners; corners off a rectangle get the smallest one around them."""
    x, y = (np.array(polygon[key], dtype=np.float64) for key in ("X", "Z"))
    heights = [-float(polygon["Ymin"]), -float(polygon["Ymax"])]
    if x.shape != (4,) or y.shape != (4,) or not np.isfinite([*x, *y, *heights]).all():
        raise SdvlmError("wanted four finite corners X, Z and heights Ymin, Ymax")
    low, high = min(heights), max(heights)
    first, second = np.array([x[1] - x[0], y[1] - y[0]]), np.array([x[2] - x[1], y[2] - y[1]])
    sides = np.linalg.norm(first), np.linalg.norm(second)
    if min(sides) <= 0:
        raise SdvlmError("a side of its rectangle has no length")
    square = abs(first @ second) / (sides[0] * sides[1]) < _SQUARE
    closed = np.hypot(x[0] + x[2] - x[1] - x[3], y[0] + y[2] - y[1] - y[3]) < _SQUARE * max(sides)
    if not (square and closed):
        box = upright_box(np.array([[a, b, height] for a, b in zip(x, y, strict=True) for height in (low, high)]))
        return toolbox_box(box.rotation.T, box.size / 2, box.center)
    across = second / sides[1] - (second / sides[1] @ first) / sides[0] ** 2 * first
    basis = np.array([[*first, 0], [*across, 0], [0, 0, 1]])
    center = np.array([(x[0] + x[2]) / 2, (y[0] + y[2]) / 2, (low + high) / 2])
    return toolbox_box(basis, np.array([sides[0], sides[1], high - low]) / 2, center)
