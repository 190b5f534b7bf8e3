"""Pictures in tables: parquet files, and what ``datasets`` saved with ``save_to_disk``; read with pyarrow alone.

Both are read a few rows at a time. A chunk is some row groups (record batches) of one file, or a slice of a large one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sdvlm.data.msmu_picture import picture_bytes
from sdvlm.depth.raw import one_line
from sdvlm.pairs.source import Chunk, RawPair, Refusal
from sdvlm.pairs.source_columns import Columns, find_columns
from sdvlm.pairs.source_files import Unreadable, check_chunk_size, chunk_key, files_below, named_files, printable
from sdvlm.pairs.source_reading import Reading, array_bytes
from sdvlm.pairs.source_rows import open_row_file
from sdvlm.types import SdvlmError

__all__ = ["TableChunk", "TableSource", "is_saved", "saved_files", "table_files"]

_STATE = "state.json"
_MOST_SLICES = 64
"""a slice of a row group is reached by reading past the rows before it, so very large groups get larger slices"""


@dataclass(frozen=True)
class TableChunk:
    """Rows ``start`` to ``stop`` (counted in the file), which lie in the groups ``first_group`` to ``last_group``."""

    key: str
    path: str
    shown: str
    columns: Columns
    reading: Reading
    groups: tuple[int, int]
    first_row: int
    rows: tuple[int, int]

    def read(self) -> Iterator[RawPair | Refusal]:
        """See :meth:`sdvlm.pairs.source.Chunk.read`; of a damaged group the rows after the damage are one refusal."""
        start, stop = self.rows
        row = self.first_row
        try:
            with open_row_file(self.path, self.shown) as file:
                for batch in file.batches(range(*self.groups), self.columns.names):
                    low, high = max(start - row, 0), min(stop - row, batch.num_rows)
                    for index in range(low, high):
                        yield self._pair(batch, index, f"{self.shown}/{row + index:08d}")
                    row += batch.num_rows
                    if row >= stop:
                        return
        except SdvlmError as error:
            yield Refusal(
                f"{self.shown}/{max(row, start):08d}", f"{error}; rows {max(row, start)} to {stop - 1} are lost"
            )

    def _pair(self, batch: Any, index: int, pair_id: str) -> RawPair | Refusal:
        columns, folder = self.columns, Path(self.path).parent

        def cell(name: str) -> Any:
            return batch.column(batch.schema.get_field_index(name))[index].as_py()

        def depth() -> bytes:
            found = cell(str(columns.depth))
            encoded = found is None or isinstance(found, bytes | str | Mapping)
            return _bytes(found, folder, f"{pair_id} (depth)") if encoded else array_bytes(found, pair_id)

        scene_id = "" if columns.scene is None else str(cell(columns.scene) or "")
        return self.reading.pair(
            pair_id,
            lambda: _bytes(cell(columns.image), folder, pair_id),
            depth if columns.depth is not None else None,
            scene_id,
        )


@dataclass(frozen=True)
class TableSource:
    """Rows of one or several files, in the order of their names.

    Args:
        root: what the user named.
        files: (path or fsspec URL, name to show in ids) of each file.
        column: of the picture; None: found (`sdvlm.pairs.source_columns`).
        depth_column: of sensor depth; None: there is none.
        scene_column: of the scene's name; None: there are none.
        reading: how pictures and depth are read.
    """

    root: str
    files: tuple[tuple[str, str], ...]
    column: str | None = None
    depth_column: str | None = None
    scene_column: str | None = None
    reading: Reading = field(default_factory=Reading)
    name: str = field(default="table", init=False)
    skipped: Counter[str] = field(default_factory=Counter, init=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """See :meth:`sdvlm.pairs.source.PairSource.settings`."""
        columns = {"column": self.column, "depth_column": self.depth_column, "scene_column": self.scene_column}
        return {"source": self.name, **columns, **self.reading.settings()}

    def chunks(self, size: int) -> Iterator[Chunk]:
        """See :meth:`sdvlm.pairs.source.PairSource.chunks`; a file that cannot be opened is a chunk of one refusal."""
        check_chunk_size(size)
        number = 0
        for path, shown in self.files:
            try:
                with open_row_file(path, shown) as file:
                    schema, counts, size_bytes = file.schema, file.group_rows(), file.size
            except SdvlmError as error:
                if len(self.files) == 1:
                    raise
                yield Unreadable(chunk_key(number, path, error), Refusal(shown, str(error)))
                number += 1
                continue
            columns = find_columns(schema, shown, self.column, self.depth_column, self.scene_column)
            for groups, first_row, rows in _spans(counts, size):
                key = chunk_key(number, shown, size_bytes, rows)
                yield TableChunk(key, path, shown, columns, self.reading, groups, first_row, rows)
                number += 1
        if not number:
            raise SdvlmError(f"{self.root} holds no row; pass files with pictures in them")


def _spans(counts: list[int], size: int) -> Iterator[tuple[tuple[int, int], int, tuple[int, int]]]:
    """(groups from, to), row where the first begins, (rows from, to): small groups together, large ones in slices."""
    group = row = 0
    while group < len(counts):
        last, total = group, counts[group]
        while last + 1 < len(counts) and total + counts[last + 1] <= size:
            last += 1
            total += counts[last]
        slices = min(max(1, round(total / size)), _MOST_SLICES)
        edges = [row + total * one // slices for one in range(slices + 1)]
        for start, stop in pairwise(edges):
            if stop > start:
                yield (group, last + 1), row, (start, stop)
        group, row = last + 1, row + total


def _bytes(cell: Any, folder: Path, name: str) -> bytes:
    """The encoded picture of a cell: bytes, base64, a path beside the file, or a struct of bytes and path."""
    if cell is None:
        raise SdvlmError(f"{name}: the cell is empty (null)")
    try:
        return picture_bytes({"image": cell}, folder)
    except (SdvlmError, OSError) as error:
        raise SdvlmError(f"{name}: {one_line(error)}") from error


def table_files(root: Path, split: str | None) -> tuple[tuple[str, str], ...]:
    """(path, name to show) of the parquet files of a folder and its subfolders, or of the one file that is given.

    Raises:
        SdvlmError: there is none, or none of the split.
    """
    if root.is_file():
        return ((str(root), printable(root.stem)),)
    return _some(root, named_files(root, files_below(root, ".parquet"), split))


def saved_files(root: Path, split: str | None) -> tuple[tuple[str, str], ...]:
    """(path, name to show) of the Arrow files that ``save_to_disk`` wrote, for a data set or for one of several splits.

    Raises:
        SdvlmError: there is none, or none of the split.
    """
    arrow = (path for path in files_below(root, ".arrow") if (path.parent / _STATE).is_file())
    return _some(root, named_files(root, arrow, split))


def is_saved(root: Path) -> bool:
    """Whether ``save_to_disk`` wrote a folder."""
    return (root / _STATE).is_file() or (root / "dataset_dict.json").is_file()


def _some(root: Path, files: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if not files:
        raise SdvlmError(f"{root} holds no file with rows; pass parquet files or what save_to_disk wrote")
    return files
