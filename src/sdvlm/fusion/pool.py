"""Depth map to token boxes: area-weighted pooling that ignores unknown pixels.

Pixels are constant-valued squares and a box weighs each by the area it covers of it, so a box may end inside a pixel.
Never bilinear: that would invent depths between foreground and background.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sdvlm.fusion.depth_grid import DepthGrid, kind_code
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
    if depth is None or not depth.valid.any():
        names = ("z", "z_min", "z_max", "z_std", "x", "y")
        return dict.fromkeys(names, nothing) | {"valid": np.zeros(len(boxes))}
    middle = float(np.mean(depth.values[depth.valid], dtype=np.float64))  # centring keeps the variance well conditioned
    known = depth.valid.astype(np.float64)
    values = np.where(depth.valid, depth.values.astype(np.float64) - middle, 0.0)
    spans = _Spans.of(boxes, depth.size)
    area, box_area = spans.integrals(known), (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low, high = _box_extremes(np.asarray(depth.values), boxes)
    has = spatial & (area > _EDGE) & np.isfinite(low)

    def mean(integrals: Array) -> Array:
        return np.where(has, integrals / area, np.nan)

    with np.errstate(divide="ignore", invalid="ignore"):
        centred = mean(spans.integrals(values))
        out = {"z": centred + middle, "z_min": np.where(has, low, np.nan), "z_max": np.where(has, high, np.nan)}
        out["z_std"] = np.sqrt(np.maximum(mean(spans.integrals(values**2)) - centred**2, 0.0))
        out["valid"] = np.where(has, np.clip(area / box_area, 0.0, 1.0), 0.0)
        out["x"] = out["y"] = nothing
        if camera is not None and depth.kind is DepthKind.METRIC:
            for name, rays in zip("xy", _axis_rays(camera), strict=True):
                weighed = spans.weighed(name, rays)  # x of a point is its z times the ray of its column
                out[name] = mean(weighed.integrals(values) + middle * weighed.integrals(known))
    return out


def _axis_rays(camera: Camera) -> tuple[Array, Array]:
    """(W,) ray x of each column of pixels and (H,) ray y of each row, at z = 1."""
    x, y = (np.arange(length, dtype=np.float64) + 0.5 for length in camera.size)
    return np.asarray((x - camera.cx) / camera.fx), np.asarray((y - camera.cy) / camera.fy)


@dataclass(frozen=True)
class _Spans:
    """Boxes as spans of columns times spans of rows. A token grid shares a few dozen of each among all its boxes, so
    that two matrix products integrate a map over every box, without the cancellation of a summed-area table.

    Args:
        columns: (I, W) how much of each column of pixels each different span covers.
        rows: (J, H) the same of rows.
        column_of, row_of: (N,) the spans of each box.
    """

    columns: Array
    rows: Array
    column_of: NDArray[np.intp]
    row_of: NDArray[np.intp]

    @classmethod
    def of(cls, boxes: Array, size: tuple[int, int]) -> _Spans:
        """Of (N, 4) boxes on a picture of ``size`` (width, height); what lies outside covers nothing."""
        (columns, column_of), (rows, row_of) = (_coverage(boxes[:, i::2], length) for i, length in enumerate(size))
        return cls(columns, rows, column_of, row_of)

    def weighed(self, axis: str, weights: Array) -> _Spans:
        """With each column ("x") or row ("y") of pixels counted ``weights`` times."""
        return replace(self, columns=self.columns * weights) if axis == "x" else replace(self, rows=self.rows * weights)

    def integrals(self, values: Array) -> Array:
        """(N,) integral over each box of an (H, W) map of constant-valued pixels.

        Multiplied by torch: NumPy's own threads would fight with the model's, and know nothing of loader workers.
        """
        rows, columns = torch.from_numpy(self.rows), torch.from_numpy(self.columns)
        table = rows @ (torch.from_numpy(values) @ columns.T)
        return np.asarray(table.numpy()[self.row_of, self.column_of])


def _coverage(spans: Array, length: int) -> tuple[Array, NDArray[np.intp]]:
    """(S, length) how much of each pixel each different span covers, and (N,) which of them each span is."""
    different, index = np.unique(spans, axis=0, return_inverse=True)
    pixel = np.arange(length)
    covered = np.minimum(different[:, 1:], pixel + 1) - np.maximum(different[:, :1], pixel)
    return np.maximum(covered, 0.0), index.reshape(-1)


def _box_extremes(values: NDArray[np.float32], boxes: Array) -> tuple[Array, Array]:
    """Smallest and largest known value among the pixels each box touches; NaN where there is none."""
    height, width = values.shape
    start = np.clip(np.floor(boxes[:, :2] + _EDGE), 0, [width, height]).astype(int)
    stop = np.clip(np.ceil(boxes[:, 2:] - _EDGE), 0, [width, height]).astype(int)
    low, high = np.full(len(boxes), np.nan), np.full(len(boxes), np.nan)
    filled = (stop > start).all(axis=1)
    rows, member = np.unique(np.stack([start[:, 1], stop[:, 1]], axis=1), axis=0, return_inverse=True)
    for index, (first, last) in enumerate(rows):  # boxes of one token row share their rows of pixels
        who = np.flatnonzero(filled & (member.reshape(-1) == index))
        if len(who):
            edges = np.stack([start[who, 0], stop[who, 0]], axis=1).reshape(-1)
            for extreme, out in ((np.fmin, low), (np.fmax, high)):  # these pass over NaN
                out[who] = extreme.reduceat(np.append(extreme.reduce(values[first:last], axis=0), np.nan), edges)[::2]
    return low, high
