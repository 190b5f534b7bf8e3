"""Warps of a whole RGB-D pair: picture, depth, validity and camera change together, no distance is invented.

Each keeps the kind of the depth and, for every point that stays in the picture, its z. Depth is taken from the nearest
pixel, never mixed. A warp maps the camera frame of the pair to the camera frame of the result by a 3x3 matrix
(OpenCV axes): points back-projected after the warp are that matrix times those back-projected before.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.geometry.transform import ImageTransform
from sdvlm.pairs.record import Pair
from sdvlm.types import Camera, DepthMap

__all__ = ["FLIP", "flip", "quarter_turn", "roll_of", "rotate", "transform"]

FLIP: NDArray[np.float64] = np.diag([-1.0, 1.0, 1.0])
"""what :func:`flip` does to points: the scene is mirrored"""


def flip(pair: Pair) -> Pair:
    """Left and right exchanged: ``cx' = W - cx``; points are multiplied by :data:`FLIP`."""
    camera = pair.camera and replace(pair.camera, cx=pair.camera.width - pair.camera.cx)
    return _with(pair, pair.image[:, ::-1], pair.depth.values[:, ::-1], camera)


def quarter_turn(pair: Pair, turns: int) -> Pair:
    """Turned by ``turns`` times 90 degrees counter-clockwise, width and height exchanged with fx and fy; exact."""
    camera = pair.camera
    for _ in range(turns % 4 if camera is not None else 0):
        assert camera is not None
        camera = Camera(camera.height, camera.width, camera.fy, camera.fx, camera.cy, camera.width - camera.cx)
    return _with(pair, np.rot90(pair.image, turns), np.rot90(pair.depth.values, turns), camera)


def rotate(pair: Pair, degrees: float) -> Pair:
    """Turned clockwise by an angle about the principal point, in the same frame; the camera stays as it is.

    The map of pixels is ``K R K^-1``, so it is exact for pixels that are not square too. Without a camera it is a turn
    about the middle of the picture, and pixels are taken as square. Where nothing of the picture comes to lie, the
    picture is black and depth unknown.
    """
    width, height = pair.size
    camera = pair.camera or Camera(width, height, 1.0, 1.0, width / 2, height / 2)
    to_source = camera.matrix @ roll_of(-degrees) @ np.linalg.inv(camera.matrix)
    coefficients = tuple(to_source[:2].ravel().tolist())
    image = Image.fromarray(pair.image).transform(
        (width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC, fillcolor=(0, 0, 0)
    )
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    (a, b, c), (d, e, f) = to_source[:2].tolist()
    column, row = np.floor(a * u + b * v + c).astype(int), np.floor(d * u + e * v + f).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    values = np.full((height, width), np.nan, dtype=np.float32)
    values[inside] = pair.depth.values[row[inside], column[inside]]
    return _with(pair, np.asarray(image), values, pair.camera)


def roll_of(degrees: float) -> NDArray[np.float64]:
    """What :func:`rotate` does to points: the turn about the optical axis that brings +x towards +y (down)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def transform(pair: Pair, change: ImageTransform) -> Pair:
    """Cropped, resized or padded; the camera follows, points stay where they are."""
    camera = pair.camera and change.camera(pair.camera)
    return replace(pair, image=change.image(pair.image), depth=change.depth(pair.depth), camera=camera)


def _with(pair: Pair, image: NDArray[np.uint8], values: NDArray[Any], camera: Camera | None) -> Pair:
    depth = DepthMap(values, pair.depth.kind, pair.depth.source)
    return replace(pair, image=np.ascontiguousarray(image), depth=depth, camera=camera)
