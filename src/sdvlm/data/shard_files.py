"""The shards of a split: filled one after another under temporary names, named when it is known how many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sdvlm.data.columns import Row
from sdvlm.data.manifest import Shard, hash_file
from sdvlm.data.parquet import BUILT, Layout, RowWriter

__all__ = ["SHARD_NAMES", "ShardFiles", "Staged", "publish"]

SHARD_NAMES = "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].parquet"
"""glob of what follows the split in the name of a shard"""
Staged = tuple[Path, int]
"""a shard under a temporary name, and its rows"""


class ShardFiles:
    """Rows of one split, spread over files; use it as a context manager, the last file is whole when it ends.

    Args:
        stage: folder for files under temporary names.
        split: name of the split.
        per: what a row holds.
        max_rows: a file ends after so many rows; None: as many as fit.
        max_bytes: and as soon as it has so many bytes.
        layout: of the rows.
    """

    def __init__(
        self, stage: Path, split: str, per: str, max_rows: int | None, max_bytes: int, layout: Layout = BUILT
    ) -> None:
        self.split, self.per, self.done = split, per, list[Staged]()
        self._stage, self._max_rows, self._max_bytes, self._layout = stage, max_rows, max_bytes, layout
        self._writer: RowWriter | None = None

    @property
    def rows(self) -> int:
        """Rows of the files that are whole; of all once the context has ended."""
        return sum(rows for _, rows in self.done)

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, all to one file."""
        writer = self._writer or self._open()
        writer.write(rows)
        self._close_full(writer)

    def write_table(self, table: Any) -> None:
        """Add the rows of an Arrow table, all to one file."""
        writer = self._writer or self._open()
        writer.write_table(table)
        self._close_full(writer)

    def _close_full(self, writer: RowWriter) -> None:
        if writer.rows == self._max_rows or writer.bytes >= self._max_bytes:
            self._close()

    def _path(self) -> Path:
        return self._stage / f"{self.split}-{len(self.done):05d}"

    def _open(self) -> RowWriter:
        self._stream = self._path().open("wb")
        self._writer = RowWriter(self._stream, self.per, {"split": self.split}, self._layout)
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            with self._stream, self._writer:
                pass
            self.done.append((self._path(), self._writer.rows))
            self._writer = None

    def __enter__(self) -> ShardFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._close()
        elif self._writer is not None:
            with self._stream:
                self._writer.__exit__(kind, error, at)


def publish(staged: Sequence[Staged], data: Path, split: str) -> Iterator[Shard]:
    """Move finished shards of a split under their names in the folder ``data``; what each is, for the manifest."""
    for index, (path, rows) in enumerate(staged):
        final = data / f"{split}-{index:05d}-of-{len(staged):05d}.parquet"
        shard = Shard(f"{data.name}/{final.name}", split, rows, path.stat().st_size, hash_file(path))
        path.replace(final)
        yield shard
