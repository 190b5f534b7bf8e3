"""Files of rows read a few rows at a time: parquet, and the Arrow streams that ``datasets`` saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from sdvlm.depth.raw import one_line
from sdvlm.extras import require
from sdvlm.pairs.source_files import open_bytes, size_of
from sdvlm.types import SdvlmError

__all__ = ["RowFile", "open_row_file"]

_ROWS_AT_A_TIME = 8
_READ_BYTES = 1 << 20


class RowFile(Protocol):
    """An open file of rows in groups."""

    @property
    def schema(self) -> Any:
        """The ``pyarrow.Schema``."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def group_rows(self) -> list[int]:
        """Rows of each group."""

    def batches(self, groups: range, columns: Sequence[str]) -> Iterator[Any]:
        """These columns of the groups' rows in order, as record batches of a few rows."""


@contextmanager
def open_row_file(path: str, shown: str) -> Iterator[RowFile]:
    """Open a file of rows: Arrow by the suffix ``.arrow``, else parquet; a path, or a URL that fsspec opens.

    Raises:
        SdvlmError: it is missing, cut short or damaged; also from within the block, while it is read.
    """
    pa = require("pyarrow", "reading tables")
    try:
        if path.endswith(".arrow"):
            with pa.memory_map(path, "r") as stream:
                yield _Arrow(stream)
        else:
            with open_bytes(path) if "://" in path else pa.OSFile(path, "r") as stream:
                yield _Parquet(stream)
    except SdvlmError:
        raise
    except FileNotFoundError:
        raise SdvlmError(f"{shown}: no such file ({path})") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SdvlmError(f"{shown}: {path} is cut short, damaged or no table: {one_line(error)}") from error


class _Parquet:
    def __init__(self, stream: Any) -> None:
        self.size = size_of(stream)
        parquet = require("pyarrow.parquet", "reading parquet")
        # buffered: a row group of a gigabyte is read a megabyte at a time
        self._file = parquet.ParquetFile(stream, buffer_size=_READ_BYTES, pre_buffer=False)
        self.schema = self._file.schema_arrow

    def group_rows(self) -> list[int]:
        metadata = self._file.metadata
        return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    def batches(self, groups: range, columns: Sequence[str]) -> Iterator[Any]:
        for group in groups:
            yield from self._file.iter_batches(_ROWS_AT_A_TIME, row_groups=[group], columns=columns, use_threads=False)


class _Arrow:
    """Mapped into memory, so that rows before those that are wanted are not read."""

    def __init__(self, stream: Any) -> None:
        self.size = size_of(stream)
        self._stream = require("pyarrow.ipc", "reading Arrow files").open_stream(stream)
        self.schema = self._stream.schema

    def group_rows(self) -> list[int]:
        return [batch.num_rows for batch in self._stream]

    def batches(self, groups: range, columns: Sequence[str]) -> Iterator[Any]:
        for number, batch in enumerate(self._stream):
            if number >= groups.stop:
                return
            if number in groups:
                chosen = batch.select(list(columns))
                for start in range(0, chosen.num_rows, _ROWS_AT_A_TIME):
                    yield chosen.slice(start, _ROWS_AT_A_TIME)
