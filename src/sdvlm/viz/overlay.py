"""Boxes drawn on a picture: oriented 3D boxes, 2D boxes, and the boxes that image tokens look at.

Pictures are enlarged first and lines drawn on top: a 320-pixel frame still carries thin lines and readable names.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from sdvlm.geometry.boxes import projected_bounds
from sdvlm.geometry.project import project
from sdvlm.geometry.transform import ImageTransform, resize
from sdvlm.types import Box3D, Camera, SdvlmError
from sdvlm.viz.palette import depth_ramp, distinct_color

__all__ = ["box_edges", "draw_boxes", "draw_boxes_3d", "draw_token_boxes"]

Picture = NDArray[np.uint8]
Bounds = tuple[float, float, float, float]
_SMOOTH = 2  # lines are drawn this much larger and then reduced: PIL does not antialias
_NEAR_M = 0.05
_EDGES = [(i, j) for i, j in itertools.combinations(range(8), 2) if bin(i ^ j).count("1") == 1]


def box_edges(box_cam: Box3D, camera: Camera) -> list[tuple[tuple[float, float], tuple[float, float], bool]]:
    """The edges of a camera-frame box as pixel segments (start, end, hidden).

    What lies behind the camera is cut off just in front of it. ``hidden``: the edge meets the corner farthest from the
    camera, so the box itself covers it.
    """
    corners = box_cam.corners()
    farthest = int(np.argmax(np.linalg.norm(corners, axis=1)))
    segments = []
    for i, j in _EDGES:
        p, q = corners[i], corners[j]
        if p[2] < _NEAR_M and q[2] < _NEAR_M:
            continue
        if p[2] < _NEAR_M:
            p = p + (_NEAR_M - p[2]) / (q[2] - p[2]) * (q - p)
        elif q[2] < _NEAR_M:
            q = q + (_NEAR_M - q[2]) / (p[2] - q[2]) * (p - q)
        (start, end), _ = project(np.stack([p, q]), camera)
        segments.append(((float(start[0]), float(start[1])), (float(end[0]), float(end[1])), farthest in (i, j)))
    return segments


def draw_boxes_3d(
    image: Picture, boxes_cam: Sequence[tuple[str, Box3D]], camera: Camera, width: int | None = None
) -> Picture:
    """Oriented boxes with their names.

    Args:
        image: (H, W, 3) uint8.
        boxes_cam: (name, box in the camera frame); an empty name draws no label.
        camera: of ``image``.
        width: of the result in pixels; the picture's own by default.

    Raises:
        SdvlmError: the camera is for another size.
    """
    canvas = _Canvas(image, width)
    if camera.size != canvas.source_size:
        (w, h), (iw, ih) = camera.size, canvas.source_size
        raise SdvlmError(f"the camera is for {w}x{h} pixels but the image is {iw}x{ih}")
    enlarged = canvas.transform.camera(camera)
    far_first = sorted(enumerate(boxes_cam), key=lambda item: -float(np.linalg.norm(item[1][1].center)))
    for index, (_, box) in far_first:
        for start, end, hidden in box_edges(box, enlarged):
            canvas.line(start, end, distinct_color(index), faint=hidden)
    labels = []
    for index, (name, box) in reversed(far_first):  # the nearest object keeps the best place for its name
        bounds = projected_bounds(box, enlarged)
        if name and bounds is not None:
            labels.append((name, bounds, distinct_color(index)))
    return canvas.finish(labels)


def draw_boxes(image: Picture, boxes_xyxy: Sequence[tuple[str, Bounds]], width: int | None = None) -> Picture:
    """2D boxes (left, top, right, bottom, in pixels of the picture) with their names."""
    canvas = _Canvas(image, width)
    labels = []
    for index, (name, box) in enumerate(boxes_xyxy):
        left, top, right, bottom = canvas.transform.boxes_to_target(box).tolist()
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
            canvas.line(start, end, distinct_color(index))
        if name:
            labels.append((name, (left, top, right, bottom), distinct_color(index)))
    return canvas.finish(labels)


def draw_token_boxes(
    image: Picture, boxes_xyxy: ArrayLike, values: ArrayLike | None = None, width: int | None = None
) -> Picture:
    """The boxes that image tokens look at, tinted by a value each.

    Args:
        image: (H, W, 3) uint8.
        boxes_xyxy: (N, 4) pixels of the picture; NaN rows (tokens that look nowhere) are left out.
        values: (N,) for the tint, smallest light to largest dark; NaN leaves a box clear. None draws outlines only.
        width: of the result in pixels; the picture's own by default.
    """
    canvas = _Canvas(image, width)
    boxes = canvas.transform.boxes_to_target(np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4))
    tint = np.full(len(boxes), np.nan) if values is None else np.asarray(values, dtype=np.float64)
    if tint.shape != (len(boxes),):
        raise SdvlmError(f"need one value for each of the {len(boxes)} boxes; got shape {tint.shape}")
    known = np.isfinite(tint)
    low, span = (float(tint[known].min()), float(np.ptp(tint[known])) or 1.0) if known.any() else (0.0, 1.0)
    for box, value in zip(boxes, tint, strict=True):
        if np.isfinite(box).all():
            fill = None if np.isnan(value) else depth_ramp()[round(255 * (value - low) / span)].tolist()
            canvas.rectangle(tuple(box.tolist()), fill)
    return canvas.finish([])


class _Canvas:
    """An enlarged picture and a transparent, still larger sheet on which lines are drawn."""

    def __init__(self, image: Picture, width: int | None) -> None:
        self.source_size = (image.shape[1], image.shape[0])
        target_width = self.source_size[0] if width is None else width
        size = (target_width, max(1, round(target_width * self.source_size[1] / self.source_size[0])))
        self.transform: ImageTransform = resize(self.source_size, size)
        self.picture = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC).convert("RGBA")
        self.sheet = Image.new("RGBA", (size[0] * _SMOOTH, size[1] * _SMOOTH), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.sheet)
        self.stroke = max(1.0, size[0] / 400)

    def line(
        self, start: tuple[float, float], end: tuple[float, float], color: tuple[int, int, int], faint: bool = False
    ) -> None:
        """A line in target pixels."""
        thickness = self.stroke * (0.5 if faint else 1.0) * _SMOOTH
        ends = [tuple(_SMOOTH * value for value in point) for point in (start, end)]
        self.draw.line(ends, fill=(*color, 150 if faint else 255), width=max(1, round(thickness)))

    def rectangle(self, box: Bounds, fill: list[int] | None) -> None:
        """A thin outline with a see-through filling, in target pixels."""
        scaled = [_SMOOTH * value for value in box]
        tint = None if fill is None else (*fill, 130)
        self.draw.rectangle(scaled, fill=tint, outline=(255, 255, 255, 160), width=max(1, round(self.stroke)))

    def finish(self, labels: Sequence[tuple[str, Bounds, tuple[int, int, int]]]) -> Picture:
        """Lines onto the picture, then names where no other name is."""
        self.picture.alpha_composite(self.sheet.reduce(_SMOOTH))
        picture = self.picture.convert("RGB")
        draw = ImageDraw.Draw(picture)
        font = ImageFont.load_default(size=max(9.0, picture.width / 40))
        taken: list[Bounds] = []
        for name, bounds, color in labels:
            place, anchor = _place_label(draw.textbbox((0, 0), name, font=font), bounds, picture.size, taken)
            middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
            draw.line([middle, anchor], fill=color, width=max(1, round(self.stroke / 2)))
            draw.rounded_rectangle(place, radius=3, fill=color)
            draw.text(middle, name, (20, 20, 23), font, anchor="mm")
            taken.append(place)
        return np.asarray(picture)


def _place_label(
    text_box: Bounds, bounds: Bounds, size: tuple[int, int], taken: Sequence[Bounds]
) -> tuple[Bounds, tuple[float, float]]:
    """Where a name goes, and the point of its box that it belongs to.

    The name stands over the middle of what is seen of the box; where another name is in the way, at the nearest free
    place around that.
    """
    pad = 4.0
    wide, high = text_box[2] - text_box[0] + 2 * pad, text_box[3] - text_box[1] + 2 * pad
    left, right = max(bounds[0], 0.0), min(bounds[2], float(size[0]))
    anchor = (left + right) / 2, min(max(bounds[1], 0.0), float(size[1]))
    start = anchor[0] - wide / 2, anchor[1] - high - 2
    steps = [(i * wide / 4, j * (high + 2)) for i in range(-6, 7) for j in range(-6, 7)]
    steps.sort(key=lambda step: step[0] ** 2 + (1.5 * step[1]) ** 2)
    places = []
    for dx, dy in steps:
        x = min(max(start[0] + dx, 0.0), max(size[0] - wide, 0.0))
        y = min(max(start[1] + dy, 0.0), max(size[1] - high, 0.0))
        places.append((x, y, x + wide, y + high))
    free = (place for place in places if not any(_touch(place, other) for other in taken))
    return next(free, places[0]), anchor


def _touch(a: Bounds, b: Bounds) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
