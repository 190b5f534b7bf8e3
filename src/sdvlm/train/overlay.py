"""A picture with the box of each image token in the colour of its depth: shows at a glance whether depth lies right.

The boxes are those the model's tokens look at, so padding, cropping and a shifted grid are seen as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from sdvlm.depth.atomic import atomic_file
from sdvlm.fusion.depth_grid import DepthGrid, kind_code
from sdvlm.types import DepthKind, DepthMap, SdvlmError
from sdvlm.viz.depth import scale_strip
from sdvlm.viz.overlay import draw_token_boxes

__all__ = ["draw_overlay", "overlay_picture"]

Picture = NDArray[np.uint8]
WIDTH = 960
"""of the drawing, in pixels"""
_PADDING, _CROSS = (62, 62, 66), (214, 214, 216)


def draw_overlay(
    picture: Picture, boxes_xyxy: ArrayLike, grid: DepthGrid | Tensor, path: Path, width: int = WIDTH
) -> None:
    """Write :func:`overlay_picture` as a PNG, whole or not at all."""
    drawn = Image.fromarray(overlay_picture(picture, boxes_xyxy, grid, width))
    with atomic_file(path) as stream:
        drawn.save(stream, format="PNG")


def overlay_picture(picture: Picture, boxes_xyxy: ArrayLike, grid: DepthGrid | Tensor, width: int = WIDTH) -> Picture:
    """The picture under its tokens' boxes, above a scale of their depths.

    The picture is in grey, so that colours are depth alone. A box with depth is tinted, near light and far dark; one
    without is crossed. What boxes cover beyond the picture is
    the padding that the tower sees, drawn grey. Tokens that look nowhere are left out.

    Args:
        picture: (H, W, 3) uint8 sRGB.
        boxes_xyxy: (N, 4) token boxes in pixels of the picture, NaN where a token looks nowhere.
        grid: depth of the same N tokens, packed (N, C) or not.
        width: of the result, pixels.

    Returns:
        (height, width, 3) uint8 sRGB.

    Raises:
        SdvlmError: boxes and depth are of different numbers of tokens.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    depth = grid if isinstance(grid, DepthGrid) else DepthGrid.unpack(grid, torch.zeros(len(grid), dtype=torch.long))
    if len(depth) != len(boxes):
        raise SdvlmError(f"depth is of {len(depth)} tokens but there are {len(boxes)} token boxes")
    padded, offset = _padded(picture, boxes)
    boxes = boxes + np.tile(offset, 2)
    z = depth.z.detach().cpu().double().numpy()
    kind = _kind(depth)
    nearness = -z if kind is DepthKind.DISPARITY else z
    drawn = _crossed(draw_token_boxes(padded, boxes, nearness, width), padded.shape[1], boxes[np.isnan(z)])
    if not np.isfinite(z).any():
        return drawn
    shown = DepthMap(z[None][:, np.isfinite(boxes).all(axis=1)], kind)
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if high <= low:
        high = low + max(abs(low) * 1e-3, 1e-3)
    strip = np.asarray(scale_strip(shown, low, high, width, width / 48))
    return np.concatenate([drawn, strip])


def _padded(picture: Picture, boxes: NDArray[np.float64]) -> tuple[Picture, NDArray[np.float64]]:
    """The picture in grey, enlarged to what the boxes cover, and (2,) where its corner came to lie."""
    height, width = picture.shape[:2]
    known = boxes[np.isfinite(boxes).all(axis=1)]
    first, last = np.zeros(2), np.array([width, height], dtype=np.float64)
    if len(known):
        first = np.minimum(first, np.floor(known[:, :2].min(axis=0) + 1e-6))
        last = np.maximum(last, np.ceil(known[:, 2:].max(axis=0) - 1e-6))
    size = (last - first).astype(int)
    left, top = (-first).astype(int)
    canvas = np.full((size[1], size[0], 3), _PADDING, dtype=np.uint8)
    gray = np.asarray(Image.fromarray(picture).convert("L"))
    canvas[top : top + height, left : left + width] = gray[..., None]
    return canvas, -first


def _crossed(drawn: Picture, source_width: int, boxes: NDArray[np.float64]) -> Picture:
    """Both diagonals of each box, in a drawing of a picture ``source_width`` pixels wide."""
    image = Image.fromarray(drawn)
    draw = ImageDraw.Draw(image)
    scale = image.width / source_width
    for left, top, right, bottom in (boxes[np.isfinite(boxes).all(axis=1)] * scale).tolist():
        thickness = max(1, round((right - left) / 24))
        for line in ([(left, top), (right, bottom)], [(left, bottom), (right, top)]):
            draw.line(line, fill=_CROSS, width=thickness)
    return np.asarray(image)


def _kind(depth: DepthGrid) -> DepthKind:
    """The kind that most tokens with depth have."""
    codes = depth.kind[depth.known].long()
    if not len(codes):
        return DepthKind.METRIC
    most = int(codes.mode().values)
    return next((kind for kind in DepthKind if kind_code(kind) == most), DepthKind.METRIC)
