"""An image transform as data, replayed alike on picture, depth, mask, boxes and camera.

Resizes, crops, pads and tiles are all one thing: an axis-aligned affine map from source to target pixels and a target
size. Pixel coordinates are continuous with centres at +0.5, so ``u_target = scale * u_source + offset`` is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["ImageTransform", "center_crop", "crop", "letterbox", "pad", "resize", "tiles"]

Size = tuple[int, int]
Labels = TypeVar("Labels", bound=np.generic)


@dataclass(frozen=True)
class ImageTransform:
    """Axis-aligned affine map between two pixel frames.

    Args:
        source_size: (width, height) of what goes in.
        target_size: (width, height) of what comes out.
        scale: (sx, sy), positive.
        offset: (tx, ty) in target pixels: ``u_target = sx * u_source + tx``.
    """

    source_size: Size
    target_size: Size
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if min(*self.source_size, *self.target_size) <= 0 or min(self.scale) <= 0:
            raise SdvlmError(f"an image transform needs positive sizes and scales; got {self}")

    def then(self, after: ImageTransform) -> ImageTransform:
        """This transform followed by another."""
        if after.source_size != self.target_size:
            raise SdvlmError(
                f"cannot chain: one transform ends at {self.target_size}, the next starts at {after.source_size}"
            )
        (sx, sy), (tx, ty) = self.scale, self.offset
        (ax, ay), (bx, by) = after.scale, after.offset
        return ImageTransform(self.source_size, after.target_size, (ax * sx, ay * sy), (ax * tx + bx, ay * ty + by))

    def boxes_to_target(self, boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
        """(..., 4) source-pixel boxes (left, top, right, bottom) to target pixels, not clipped."""
        return np.asarray(
            np.asarray(boxes_xyxy, dtype=np.float64) * [*self.scale, *self.scale] + [*self.offset, *self.offset]
        )

    def boxes_to_source(self, boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
        """(..., 4) target-pixel boxes to source pixels, not clipped: padding lies outside the source image."""
        boxes = np.asarray(boxes_xyxy, dtype=np.float64)
        return np.asarray((boxes - [*self.offset, *self.offset]) / [*self.scale, *self.scale])

    def camera(self, camera: Camera) -> Camera:
        """The camera of the target picture. z of every point stays; the field of view may not."""
        if camera.size != self.source_size:
            raise SdvlmError(f"the camera is for {camera.size} pixels but the transform starts at {self.source_size}")
        (sx, sy), (tx, ty) = self.scale, self.offset
        w, h = self.target_size
        return Camera(w, h, sx * camera.fx, sy * camera.fy, sx * camera.cx + tx, sy * camera.cy + ty)

    def depth(self, depth: DepthMap) -> DepthMap:
        """Nearest-neighbour replay on a depth map; what comes from outside the source is unknown (NaN).

        Never bilinear: mixing foreground and background invents depths that nothing in the scene has.
        """
        return replace(depth, values=self._nearest(depth.values, np.float32(np.nan)))

    def mask(self, mask: NDArray[Labels], outside: int = 0) -> NDArray[Labels]:
        """Nearest-neighbour replay on an (H, W) mask or label map; ``outside`` fills what lies beyond the source."""
        return self._nearest(mask, mask.dtype.type(outside))

    def image(self, image: NDArray[np.uint8], fill: tuple[int, int, int] = (0, 0, 0)) -> NDArray[np.uint8]:
        """Bicubic antialiased replay on an (H, W, 3) picture; ``fill`` colours what lies beyond the source."""
        self._check(image.shape[:2])
        width, height = self.target_size
        left, top, right, bottom = self.boxes_to_target([0, 0, *self.source_size])
        x0, y0, x1, y1 = max(round(left), 0), max(round(top), 0), min(round(right), width), min(round(bottom), height)
        canvas = np.empty((height, width, 3), dtype=np.uint8)
        canvas[:] = fill
        if x1 > x0 and y1 > y0:
            box = np.clip(self.boxes_to_source([x0, y0, x1, y1]), 0, [*self.source_size, *self.source_size])
            part = Image.fromarray(image).resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, box=tuple(box.tolist()))
            canvas[y0:y1, x0:x1] = np.asarray(part)
        return canvas

    def _nearest(self, values: NDArray[Labels], outside: np.generic) -> NDArray[Labels]:
        self._check(values.shape)
        width, height = self.target_size
        column = np.floor((np.arange(width) + 0.5 - self.offset[0]) / self.scale[0]).astype(int)
        row = np.floor((np.arange(height) + 0.5 - self.offset[1]) / self.scale[1]).astype(int)
        inside_x = (column >= 0) & (column < self.source_size[0])
        inside_y = (row >= 0) & (row < self.source_size[1])
        out = np.full((height, width), outside, dtype=values.dtype)
        out[np.ix_(inside_y, inside_x)] = values[np.ix_(row[inside_y], column[inside_x])]
        return out

    def _check(self, shape: tuple[int, ...]) -> None:
        if shape != (self.source_size[1], self.source_size[0]):
            raise SdvlmError(
                f"the transform starts at {self.source_size} (width, height); got an array of shape {shape}"
            )


def resize(source: Size, target: Size) -> ImageTransform:
    """Stretch to ``target``, each axis on its own."""
    return ImageTransform(source, target, (target[0] / source[0], target[1] / source[1]))


def crop(source: Size, box_xyxy: tuple[int, int, int, int]) -> ImageTransform:
    """Cut a window; it may reach beyond the source (then it pads)."""
    left, top, right, bottom = box_xyxy
    return ImageTransform(source, (right - left, bottom - top), offset=(-left, -top))


def pad(source: Size, left: int, top: int, right: int, bottom: int) -> ImageTransform:
    """Add borders, in pixels."""
    return crop(source, (-left, -top, source[0] + right, source[1] + bottom))


def center_crop(source: Size, target: Size) -> ImageTransform:
    """Cut ``target`` (width, height) from the middle, or pad to it; of an odd remainder the left and top get less."""
    left, top = int((source[0] - target[0]) / 2), int((source[1] - target[1]) / 2)
    return crop(source, (left, top, left + target[0], top + target[1]))


def letterbox(source: Size, target: Size) -> ImageTransform:
    """Fit inside ``target`` keeping the aspect ratio, centred, borders left over."""
    ratio = min(target[0] / source[0], target[1] / source[1])
    inner = (max(1, round(source[0] * ratio)), max(1, round(source[1] * ratio)))
    return resize(source, inner).then(center_crop(inner, target))


def tiles(source: Size, tile: Size) -> Iterator[ImageTransform]:
    """Windows of size ``tile`` that cover the source row by row; the last of a row or column may reach beyond it."""
    for top in range(0, source[1], tile[1]):
        for left in range(0, source[0], tile[0]):
            yield crop(source, (left, top, left + tile[0], top + tile[1]))
