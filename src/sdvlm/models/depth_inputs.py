"""Depth maps of pictures to what a ``DepthVLM`` takes of them: one row a token, pooled as the model wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.pool import pool_depth
from sdvlm.fusion.pool_unpadded import pool_unpadded
from sdvlm.models.grid import TokenGrid
from sdvlm.models.pictures import per_picture
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["check_whole", "checked_depth", "pack_depth", "rows_and_columns"]

Size = tuple[int, int]


def pack_depth(
    fusion: FusionConfig | None,
    grid: TokenGrid,
    sizes: Sequence[Size],
    depth: Any,
    camera: Any = None,
    always: bool = False,
) -> Tensor | None:
    """(T, C) packed depth of the image tokens of several pictures; None where none has depth, unless ``always``.

    Args:
        fusion: of the model; says what depth it takes and how that is pooled.
        grid: which pixels each token looks at.
        sizes: (width, height) of each picture.
        depth: None, or for each picture a ``DepthMap`` or None: of the picture's size, or of any where the fusion
            pools over the un-padded picture.
        camera: None, or for each picture a ``Camera`` of its size or None.

    Raises:
        SdvlmError: counts or sizes disagree, or depth is of a kind the fusion does not take.
    """
    maps, cameras = checked_depth(fusion, sizes, depth, camera)
    if all(one is None for one in maps) and not always:
        return None
    unpadded = fusion is not None and fusion.pooling == "unpadded"
    grids = [
        pool_unpadded(one, *rows_and_columns(grid, size))
        if unpadded
        else pool_depth(one, grid.boxes(size), size, seen_by)
        for size, one, seen_by in zip(sizes, maps, cameras, strict=True)
    ]
    return DepthGrid.concatenate(grids).pack()


def checked_depth(
    fusion: FusionConfig | None, sizes: Sequence[Size], depth: Any, camera: Any = None
) -> tuple[list[DepthMap | None], list[Camera | None]]:
    """Depth and camera of each picture, None where there is none. Arguments as :func:`pack_depth`.

    Raises:
        SdvlmError: counts or sizes disagree, or depth is of a kind the fusion does not take.
    """
    maps = per_picture(depth, len(sizes), "depth maps", DepthMap)
    cameras = per_picture(camera, len(sizes), "cameras", Camera)
    unpadded = fusion is not None and fusion.pooling == "unpadded"
    for index, (size, one, seen_by) in enumerate(zip(sizes, maps, cameras, strict=True)):
        for what, part in (("depth", None if unpadded else one), ("camera", seen_by)):
            if part is not None and part.size != size:
                (w, h), (want_w, want_h) = part.size, size
                raise SdvlmError(f"{what} of picture {index} is for {w}x{h} pixels, the picture is {want_w}x{want_h}")
        _check_kind(fusion, index, one)
    return maps, cameras


def rows_and_columns(grid: TokenGrid, size: Size) -> tuple[int, int]:
    """Rows and columns of the tokens of a picture of ``size``.

    Raises:
        SdvlmError: they do not stand row by row in one grid.
    """
    boxes = grid.boxes(size)
    rows, columns = len(np.unique(boxes[:, 1])), len(np.unique(boxes[:, 0]))
    ordered = np.lexsort((boxes[:, 0], boxes[:, 1]))
    if rows * columns != len(boxes) or (ordered != np.arange(len(boxes))).any():
        raise SdvlmError(
            f"the {len(boxes)} tokens of a {size[0]}x{size[1]} picture do not stand row by row in one grid, so depth "
            "cannot be pooled over the un-padded picture; use the pooling 'boxes'"
        )
    return rows, columns


def _check_kind(fusion: FusionConfig | None, index: int, depth: DepthMap | None) -> None:
    if depth is None:
        return
    if fusion is None:
        raise SdvlmError("got depth, but this model has no fusion; make one with DepthVLM.from_vlm(..., fusion=...)")
    if depth.kind not in fusion.kinds:
        wanted = " or ".join(sorted(fusion.kinds))
        raise SdvlmError(
            f"depth of picture {index} is {depth.kind} but the fusion '{fusion.name}' needs {wanted} depth; "
            "use a metric estimator or sensor, or a fusion with the coordinate 'minmax'"
        )


def check_whole(grid: TokenGrid, fusion: FusionConfig, sizes: Sequence[tuple[int, int]]) -> None:
    """That no picture's crops come out as pictures of their own, for a coordinate counted over whole pictures.

    Raises:
        SdvlmError: they do.
    """
    for width, height in sizes:
        if "apart" in grid.views((width, height)).extra:
            raise SdvlmError(
                f"the crops of a {width}x{height} picture come out one by one, and the coordinate "
                f"'{fusion.coordinate}' is counted over a whole picture; use the coordinate 'log_metric'"
            )
