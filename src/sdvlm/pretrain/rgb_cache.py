"""Features of the frozen RGB tower on disk: computed once, found again by what they were made from.

An entry is a folder named by the digest of the tower's weights, its preprocessing, the pairs and the pooling. It holds
its rows in parts of fixed length, each a ``.npy`` written whole or not at all, so making an entry resumes, and several
processes may each make some of the parts. Read through memory maps: memory does not grow with the number of pairs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.atomic import atomic_file
from sdvlm.depth.cache import default_cache_folder
from sdvlm.types import SdvlmError

__all__ = ["FeatureCache", "default_feature_folder"]

_FORMAT = "1"  # part of every key: raise it when what is stored changes meaning
ROWS = 512
"""rows of a part"""


def default_feature_folder() -> Path:
    """``$SDVLM_CACHE/rgb_features``, else ``~/.cache/sdvlm/rgb_features``."""
    return default_cache_folder("rgb_features")


class FeatureCache:
    """Float16 rows of a fixed shape, one a pair.

    Args:
        folder: where entries lie; made when first written to.
        made_from: all that decides the rows, as plain JSON values; its digest names the entry.
        rows: how many.
        shape: of one row.
        max_bytes: most that all entries may take together; the least recently used ones make room.

    Raises:
        SdvlmError: this entry alone would take more than ``max_bytes``.
    """

    def __init__(
        self, folder: Path, made_from: Mapping[str, Any], rows: int, shape: tuple[int, ...], max_bytes: int
    ) -> None:
        document = {"format": _FORMAT, "rows": rows, "shape": list(shape)} | dict(made_from)
        text = json.dumps(document, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:32]
        self.rows, self.shape = rows, shape
        self._maps: dict[int, NDArray[np.float16]] = {}
        wanted = rows * int(np.prod(shape)) * 2
        if wanted > max_bytes:
            raise SdvlmError(
                f"RGB features of {rows} pairs would take {wanted / 1e9:.1f} GB on disk, more than the "
                f"{max_bytes / 1e9:.1f} GB allowed; raise cache_gb, or set cache=false to encode pictures as they come"
            )
        if not self.folder.is_dir():
            _make_room(folder, max_bytes - wanted)
        with atomic_file(self.folder / "made_from.json") as stream:  # also says that the entry was used just now
            stream.write(json.dumps(document, indent=2, sort_keys=True).encode())

    @property
    def parts(self) -> int:
        """Number of files the rows are in."""
        return -(-self.rows // ROWS)

    def fill(
        self,
        compute: Callable[[Sequence[int]], NDArray[np.float32]],
        share: tuple[int, int] = (0, 1),
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Compute the parts that are not there.

        Args:
            compute: row numbers to (rows, \\*shape) values.
            share: (this process, processes): each makes every so many-th part.
            progress: called with rows there and rows wanted after each part made.

        Returns:
            rows computed now.
        """
        made = 0
        for part in range(share[0], self.parts, share[1]):
            if self._whole(part):
                continue
            numbers = range(part * ROWS, min((part + 1) * ROWS, self.rows))
            values = np.asarray(compute(numbers)).astype(np.float16)
            if values.shape != (len(numbers), *self.shape) or not np.isfinite(values).all():
                raise SdvlmError(
                    f"the RGB tower gave features of shape {values.shape} for {len(numbers)} pictures, "
                    f"or ones that are not finite; wanted {(len(numbers), *self.shape)} finite numbers"
                )
            with atomic_file(self._path(part)) as stream:
                np.save(stream, values, allow_pickle=False)
            made += len(numbers)
            if progress is not None:
                progress(numbers[-1] + 1, self.rows)
        return made

    def __getitem__(self, rows: Sequence[int]) -> NDArray[np.float16]:
        """(R, \\*shape) rows by number."""
        out = np.empty((len(rows), *self.shape), dtype=np.float16)
        for place, row in enumerate(rows):
            part, offset = divmod(row, ROWS)
            if part not in self._maps:
                self._maps[part] = np.load(self._path(part), mmap_mode="r", allow_pickle=False)
            out[place] = self._maps[part][offset]
        return out

    def moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of every number of a row, over all rows; each of ``shape``."""
        total, squares = np.zeros(self.shape), np.zeros(self.shape)
        for start in range(0, self.rows, ROWS):
            values = self[range(start, min(start + ROWS, self.rows))].astype(np.float64)
            total += values.sum(axis=0)
            squares += (values**2).sum(axis=0)
        mean = total / self.rows
        deviation = np.sqrt(np.maximum(squares / self.rows - mean**2, 0))
        return mean.astype(np.float32), deviation.astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}

    def _path(self, part: int) -> Path:
        return self.folder / f"{part:06d}.npy"

    def _whole(self, part: int) -> bool:
        """Whether a part is there, of the right shape and length."""
        try:
            values = np.load(self._path(part), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return False
        length = min(ROWS, self.rows - part * ROWS)
        return bool(values.shape == (length, *self.shape) and values.dtype == np.float16)


def _make_room(folder: Path, allowed: int) -> None:
    """Remove the least recently used entries until the rest takes at most ``allowed`` bytes."""
    entries = [one for one in folder.iterdir() if one.is_dir()] if folder.is_dir() else []
    sizes = {one: sum(file.stat().st_size for file in one.iterdir() if file.is_file()) for one in entries}
    for entry in sorted(entries, key=_last_used):
        if sum(sizes.values()) <= allowed:
            return
        shutil.rmtree(entry, ignore_errors=True)
        del sizes[entry]


def _last_used(entry: Path) -> float:
    marker = entry / "made_from.json"
    return marker.stat().st_mtime if marker.is_file() else 0.0
