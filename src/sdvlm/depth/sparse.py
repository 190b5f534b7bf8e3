"""Sparse depth: a list of measured points (LiDAR returns, laser samples) drawn into a map of the image's size."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdvlm.depth.raw import check_size, one_line
from sdvlm.types import DepthMap, SdvlmError

__all__ = ["MAX_OUTSIDE", "rasterize_points", "read_points"]

MAX_OUTSIDE = 0.05
"""share of points that may lie outside the image; more means that they belong to another picture or size"""

_MAX_BYTES = 256 * 2**20
_log = logging.getLogger(__name__)


def read_points(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """(N, 3) points ``[u, v, z]``: 0-based pixels whose centres are integers (u right, v down), metres.

    The file is a JSON list of such triples, or ``{"points": [...]}`` with optional ``width`` and ``height``, which must
    then agree with ``size`` (width, height).

    Raises:
        SdvlmError: not JSON, not such a list, empty, or made for another image size.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SdvlmError(f"{path}: is larger than {_MAX_BYTES >> 20} MiB; too many points for one image")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SdvlmError(f"{path}: is not readable JSON: {one_line(error)}") from error
    if isinstance(data, dict):
        own = data.get("width"), data.get("height")
        if size is not None and None not in own and own != tuple(size):
            raise SdvlmError(f"{path}: points are for {own[0]}x{own[1]} pixels but the image is {size[0]}x{size[1]}")
        data = data.get("points")
    try:
        points = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SdvlmError(f"{path}: wanted a list of [u, v, z_metres]: {one_line(error)}") from error
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise SdvlmError(f"{path}: wanted a list of [u, v, z_metres]; got shape {points.shape}")
    return points


def rasterize_points(points: ArrayLike, size: tuple[int, int], name: str = "points") -> DepthMap:
    """Draw points into a metric map; every other pixel is unknown.

    Args:
        points: (N, 3) of ``[u, v, z]``: pixel coordinates with integer centres, z in metres along the optical axis.
            Where several fall into one pixel the nearest surface wins. Points without a positive z are left out.
        size: (width, height) of the image.
        name: for messages and for the map's ``source``.

    Raises:
        SdvlmError: more than ``MAX_OUTSIDE`` of the points lie outside the image, or none is usable.
    """
    width, height = size
    check_size(width, height, name)
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    known = np.isfinite(points).all(axis=1) & (points[:, 2] > 0)
    column, row, z = points[known].T
    column, row = np.floor(column + 0.5), np.floor(row + 0.5)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    outside = int((~inside).sum())
    if outside > MAX_OUTSIDE * len(z):
        raise SdvlmError(
            f"{name}: {outside} of {len(z)} points lie outside the {width}x{height} image; "
            "they belong to another picture or size"
        )
    if not inside.any():
        raise SdvlmError(f"{name}: has 0 valid points of {len(points)}; z must be positive metres")
    if outside or not known.all():
        _log.warning("%s: left out %d points outside the image and %d without depth", name, outside, (~known).sum())
    nearest = np.full((height, width), np.inf)
    np.minimum.at(nearest, (row[inside].astype(int), column[inside].astype(int)), z[inside])
    return DepthMap(nearest, source=name)
