"""Random access to the pairs of a finished data set, a few row groups in memory at a time."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.manifest import Manifest, Shard, read_manifest
from sdvlm.data.msmu_picture import decode_picture
from sdvlm.data.parquet import open_rows
from sdvlm.extras import require
from sdvlm.pairs.columns import FORMAT, MAKER, PAIRS, Row, pair_of
from sdvlm.pairs.record import Pair
from sdvlm.types import SdvlmError

__all__ = ["PairDataset"]

_OPEN_FILES = 16
_CACHED_GROUPS = 8


class PairDataset:
    """Pairs of a folder that ``sdvlm pairs`` wrote, by number from 0.

    It can be pickled and may be used in forked or spawned loader workers: each opens the shards for itself.

    Args:
        folder: OUT of ``sdvlm pairs``.
        split: "train" or "test"; None: all.

    Raises:
        SdvlmError: the folder is no finished data set of pairs, or has no such split.
    """

    def __init__(self, folder: str | Path, split: str | None = None) -> None:
        self.folder, self.split = Path(folder), split
        self.manifest: Manifest = read_manifest(self.folder, FORMAT, MAKER)
        self._shards: tuple[Shard, ...] = self.manifest.files if split is None else self.manifest.shards(split)
        self._ends = list(accumulate(shard.rows for shard in self._shards))
        self._forget()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Pair:
        """The pair; raises IndexError outside of the data, SdvlmError where a shard is missing or damaged."""
        return pair_of(self.row(index))

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB: the picture alone, its depth not decoded."""
        return decode_picture(self.row(index)["image"])

    def row(self, index: int) -> Row:
        """The row as it is stored, nothing decoded; see :func:`sdvlm.pairs.columns.pairs_schema`."""
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"pair {index} of {count}")
        index %= count
        shard = bisect_right(self._ends, index)
        within = index - (self._ends[shard - 1] if shard else 0)
        starts = self._file(shard)[1]
        group = bisect_right(starts, within) - 1
        row: Row = self._group(shard, group).slice(within - starts[group], 1).to_pylist()[0]
        return row

    def pair_ids(self) -> list[str]:
        """Of all pairs in order; no picture is read."""
        return self.column("pair_id")

    def scene_ids(self) -> list[str]:
        """Of all pairs in order, "" where the source had no scenes; no picture is read."""
        return self.column("scene_id")

    def column(self, name: str) -> list[Any]:
        """One column of all pairs in order, as plain values; only that column is read."""
        found: list[Any] = []
        for shard in self._shards:
            with open_rows(self.folder / shard.path, PAIRS) as file:
                try:
                    found += file.read(columns=[name], use_threads=False).column(name).to_pylist()
                except _read_errors() as error:
                    raise _damaged(self.folder / shard.path, error) from error
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_files", "_groups", "_process")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def _forget(self) -> None:
        """Start with nothing open; what a forked parent had open stays the parent's."""
        self._files: OrderedDict[int, tuple[Any, Sequence[int]]] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._process = os.getpid()

    def _file(self, shard: int) -> tuple[Any, Sequence[int]]:
        """An open shard and the first row of each of its row groups; the least recently used is closed."""
        if self._process != os.getpid():
            self._forget()
        if shard not in self._files:
            file = open_rows(self.folder / self._shards[shard].path, PAIRS)
            rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            if sum(rows) != self._shards[shard].rows:
                file.close()
                raise SdvlmError(f"{self.folder / self._shards[shard].path}: is not the file of the manifest")
            self._files[shard] = (file, [0, *accumulate(rows)][:-1])
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)[1][0].close()
        self._files.move_to_end(shard)
        return self._files[shard]

    def _group(self, shard: int, group: int) -> Any:
        key = (shard, group)
        if key not in self._groups:
            try:
                self._groups[key] = self._file(shard)[0].read_row_group(group, use_threads=False)
            except _read_errors() as error:
                raise _damaged(self.folder / self._shards[shard].path, error) from error
            if len(self._groups) > _CACHED_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]


def _read_errors() -> tuple[type[Exception], ...]:
    return require("pyarrow", "reading parquet").ArrowException, OSError


def _damaged(path: Path, error: Exception) -> SdvlmError:
    said = " ".join(str(error).split()) or type(error).__name__
    return SdvlmError(f"{path}: is damaged: {said}; build the pairs again")
