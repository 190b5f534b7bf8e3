"""Depth pooled over a picture's tokens, kept on disk: it is the same each time the picture comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.depth_inputs import checked_depth, pack_depth
from sdvlm.models.grid import TokenGrid
from sdvlm.train.tensor_files import TensorFiles
from sdvlm.types import Camera, DepthMap

__all__ = ["PooledDepth"]

_FORMAT = "1"  # part of every key: raise it when what is stored changes meaning
_GRID = "grid"


class PooledDepth:
    """In the place of ``depth_inputs.pack_depth``, with a memory. Picklable: it lives in the loader's workers.

    Args:
        folder: where packed grids are kept; 28 KB for 576 tokens.
        gb: most disk they may take, 10^9 bytes; the least recently used ones go.
    """

    def __init__(self, folder: Path, gb: float = 5.0) -> None:
        self.files = TensorFiles(folder, round(gb * 10**9))
        self._grids: WeakKeyDictionary[TokenGrid, str] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.files, self._grids = state["files"], WeakKeyDictionary()

    def pack(
        self,
        fusion: FusionConfig | None,
        grid: TokenGrid,
        sizes: Sequence[tuple[int, int]],
        depth: Any,
        camera: Any = None,
        always: bool = False,
    ) -> Tensor | None:
        """Arguments, result and errors as of ``pack_depth``."""
        maps, cameras = checked_depth(fusion, sizes, depth, camera)
        if all(one is None for one in maps) and not always:
            return None
        rows = []
        for size, one, seen_by in zip(sizes, maps, cameras, strict=True):
            key = _key(self._grid_digest(grid), fusion, size, one, seen_by)
            kept = self.files.get(key)
            if kept is not None and _GRID in kept:
                rows.append(kept[_GRID])
                continue
            made = pack_depth(fusion, grid, [size], [one], [seen_by], always=True)
            assert made is not None
            self.files.put(key, {_GRID: made})
            rows.append(made)
        return torch.cat(rows) if rows else None

    def _grid_digest(self, grid: TokenGrid) -> str:
        """Of the way from a picture's pixels to the tower's cells."""
        if grid not in self._grids:
            said = grid.config.to_json_string(use_diff=False) + str(grid.image_processor.to_json_string())
            said += "several" if grid.several else ""
            self._grids[grid] = hashlib.sha256(said.encode()).hexdigest()
        return self._grids[grid]


def _key(
    grid: str, fusion: FusionConfig | None, size: tuple[int, int], depth: DepthMap | None, camera: Camera | None
) -> str:
    """Digest of depth, camera, token grid, and how is pooled."""
    words = {
        "format": _FORMAT,
        "grid": grid,
        "pooling": None if fusion is None else fusion.pooling,
        "size": size,
        "camera": None if camera is None else asdict(camera),
        "kind": None if depth is None else str(depth.kind),
        "shape": None if depth is None else depth.values.shape,
    }
    digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
    if depth is not None:
        digest.update(np.ascontiguousarray(depth.values).data)
    return digest.hexdigest()
