"""Depth map to token boxes: area-weighted pooling that ignores unknown pixels.

A summed-area table read at fractional positions integrates a map of constant-valued pixels exactly, so a box may end
inside a pixel. Never bilinear: that would invent depths between foreground and background.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sdvlm.fusion.depth_grid import DepthGrid, kind_code
from sdvlm.geometry.project import camera_rays
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["pool_depth"]

Array = NDArray[np.float64]
_EDGE = 1e-6  # pixels: a box that ends within this of a pixel edge does not touch the next pixel


def pool_depth(
    depth: DepthMap | None, boxes_xyxy: Array, image_size: tuple[int, int], camera: Camera | None = None
) -> DepthGrid:
    """Pool one picture's depth over its token boxes.

    Args:
        depth: map of the picture, or None: every token is then without depth.
        boxes_xyxy: (N, 4) token boxes (left, top, right, bottom) in pixels of the picture; NaN rows for tokens that
            look nowhere. Parts of a box outside the picture (padding) count as unknown.
        image_size: (width, height) of the picture.
        camera: intrinsics for that size, or None: then x, y and rays are NaN.

    Returns:
        DepthGrid of N tokens, float32 on the CPU, computed in float64.

    Raises:
        SdvlmError: depth or camera is for another size.
    """
    for what, part in (("depth", depth), ("camera", camera)):
        if part is not None and part.size != image_size:
            raise SdvlmError(
                f"{what} is for {part.size[0]}x{part.size[1]} pixels, the image is {image_size[0]}x{image_size[1]}"
            )
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    spatial: NDArray[np.bool_] = np.asarray(np.isfinite(boxes).all(axis=1))
    filled = np.where(spatial[:, None], boxes, 0.0)
    center = np.where(spatial[:, None], (filled[:, :2] + filled[:, 2:]) / 2, np.nan)
    columns = {"u": center[:, 0] / image_size[0], "v": center[:, 1] / image_size[1]}
    columns |= _rays(center, camera)
    columns |= _statistics(depth, filled, spatial, camera)
    columns["kind"] = np.full(len(boxes), float(kind_code(None if depth is None else depth.kind)))
    tensors = {name: torch.from_numpy(np.asarray(column, dtype=np.float32)) for name, column in columns.items()}
    return DepthGrid(**tensors, image_index=torch.zeros(len(boxes), dtype=torch.long))


def _rays(center: Array, camera: Camera | None) -> dict[str, Array]:
    if camera is None:
        nothing = np.full(len(center), np.nan)
        return {"ray_x": nothing, "ray_y": nothing}
    return {"ray_x": (center[:, 0] - camera.cx) / camera.fx, "ray_y": (center[:, 1] - camera.cy) / camera.fy}


def _statistics(
    depth: DepthMap | None, boxes: Array, spatial: NDArray[np.bool_], camera: Camera | None
) -> dict[str, Array]:
    nothing = np.full(len(boxes), np.nan)
    names = ("z", "z_min", "z_max", "z_std", "x", "y")
    if depth is None or not depth.valid.any():
        return dict.fromkeys(names, nothing) | {"valid": np.zeros(len(boxes))}
    known = depth.valid
    middle = float(np.mean(depth.values[known], dtype=np.float64))  # centring keeps the variance well conditioned
    values = np.where(known, depth.values.astype(np.float64) - middle, 0.0)
    layers = [known.astype(np.float64), values, values**2]
    if camera is not None and depth.kind is DepthKind.METRIC:
        points = camera_rays(camera)[..., :2] * np.where(known, depth.values, 0.0)[..., None]
        layers += [points[..., 0], points[..., 1]]
    sums = _box_integrals(np.stack(layers, axis=-1), boxes)
    area, box_area = sums[:, 0], (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low, high = _box_extremes(np.asarray(depth.values), boxes)
    has = spatial & (area > _EDGE) & np.isfinite(low)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(has[:, None], sums[:, 1:] / area[:, None], np.nan)
        valid = np.where(has, np.clip(area / box_area, 0.0, 1.0), 0.0)
    out = {"z": means[:, 0] + middle, "z_min": np.where(has, low, np.nan), "z_max": np.where(has, high, np.nan)}
    out["z_std"] = np.sqrt(np.maximum(means[:, 1] - means[:, 0] ** 2, 0.0))
    out["x"], out["y"] = (means[:, 2], means[:, 3]) if means.shape[1] > 2 else (nothing, nothing)
    return out | {"valid": valid}


def _box_integrals(layers: Array, boxes: Array) -> Array:
    """(H, W, L) piecewise-constant layers integrated over (N, 4) boxes, zero outside: (N, L)."""
    height, width, count = layers.shape
    table = np.zeros((height + 1, width + 1, count))
    table[1:, 1:] = layers.cumsum(axis=0).cumsum(axis=1)

    def corner(x: Array, y: Array) -> Array:
        x, y = np.clip(x, 0, width), np.clip(y, 0, height)
        x0, y0 = np.minimum(x.astype(int), width - 1), np.minimum(y.astype(int), height - 1)
        fx, fy = (x - x0)[:, None], (y - y0)[:, None]
        top = table[y0, x0] * (1 - fx) + table[y0, x0 + 1] * fx
        bottom = table[y0 + 1, x0] * (1 - fx) + table[y0 + 1, x0 + 1] * fx
        return np.asarray(top * (1 - fy) + bottom * fy)

    left, top, right, bottom = boxes.T
    return corner(right, bottom) - corner(left, bottom) - corner(right, top) + corner(left, top)


def _box_extremes(values: NDArray[np.float32], boxes: Array) -> tuple[Array, Array]:
    """Smallest and largest known value among the pixels each box touches; inf and -inf where there is none."""
    height, width = values.shape
    start = np.clip(np.floor(boxes[:, :2] + _EDGE), 0, [width, height]).astype(int)
    stop = np.clip(np.ceil(boxes[:, 2:] - _EDGE), 0, [width, height]).astype(int)
    low, high = np.full(len(boxes), np.inf), np.full(len(boxes), -np.inf)
    below = np.pad(np.where(np.isnan(values), np.inf, values), ((0, 0), (0, 1)), constant_values=np.inf)
    above = np.pad(np.where(np.isnan(values), -np.inf, values), ((0, 0), (0, 1)), constant_values=-np.inf)
    filled = (stop > start).all(axis=1)
    rows, member = np.unique(np.stack([start[:, 1], stop[:, 1]], axis=1), axis=0, return_inverse=True)
    for index, (first, last) in enumerate(rows):  # boxes of one token row share their rows of pixels
        who = np.flatnonzero(filled & (member.reshape(-1) == index))
        if len(who):
            edges = np.stack([start[who, 0], stop[who, 0]], axis=1).reshape(-1)
            low[who] = np.minimum.reduceat(below[first:last].min(axis=0), edges)[::2]
            high[who] = np.maximum.reduceat(above[first:last].max(axis=0), edges)[::2]
    return low, high
