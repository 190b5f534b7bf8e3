"""Files of rows read a few rows at a time: parquet, and the Arrow streams that ``datasets`` saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
        SdvlmError: it is missing, cut short or damaged; :meth:`RowFile.batches` raises the same where rows are damaged.
    """
    pa = require("pyarrow", "reading tables")
    with ExitStack() as opened:
        with _told(path, shown):
            if path.endswith(".arrow"):
                file: RowFile = _Arrow(opened.enter_context(pa.memory_map(path, "r")), path, shown)
            else:
                stream = open_bytes(path) if "://" in path else pa.OSFile(path, "r")
                file = _Parquet(opened.enter_context(stream), path, shown)
        yield file


@contextmanager
def _told(path: str, shown: str) -> Iterator[None]:
    """What pyarrow raises while it reads, as one line."""
    pa = require("pyarrow", "reading tables")
    try:
        yield
    except FileNotFoundError:
        raise SdvlmError(f"{shown}: no such file ({path})") from None
    except SdvlmError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SdvlmError(f"{shown}: {path} is cut short, damaged or no table: {one_line(error)}") from error


def _each(batches: Iterator[Any], path: str, shown: str) -> Iterator[Any]:
    """The batches; only reading them is guarded, not what is done with them."""
    while True:
        with _told(path, shown):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


class _Parquet:
    def __init__(self, stream: Any, path: str, shown: str) -> None:
        self._names = path, shown
        self.size = size_of(stream)
        parquet = require("pyarrow.parquet", "reading parquet")
        # buffered: a row group of a gigabyte is read a megabyte at a time
        self._file = parquet.ParquetFile(stream, buffer_size=_READ_BYTES, pre_buffer=False)
        self.schema = self._file.schema_arrow

    def group_rows(self) -> list[int]:
        metadata = self._file.metadata
        return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    def batches(self, groups: range, columns: Sequence[str]) -> Iterator[Any]:
        return _each(self._read(groups, columns), *self._names)

    def _read(self, groups: range, columns: Sequence[str]) -> Iterator[Any]:
        for group in groups:
            yield from self._file.iter_batches(_ROWS_AT_A_TIME, row_groups=[group], columns=columns, use_threads=False)


class _Arrow:
    """Mapped into memory, so that rows before those that are wanted are not read."""

    def __init__(self, stream: Any, path: str, shown: str) -> None:
        self._names = path, shown
        self.size = size_of(stream)
        self._stream = require("pyarrow.ipc", "reading Arrow files").open_stream(stream)
        self.schema = self._stream.schema

    def group_rows(self) -> list[int]:
        return [batch.num_rows for batch in _each(iter(self._stream), *self._names)]

    def batches(self, groups: range, columns: Sequence[str]) -> Iterator[Any]:
        return _each(self._read(groups, columns), *self._names)

    def _read(self, groups: range, columns: Sequence[str]) -> Iterator[Any]:
        for number, batch in enumerate(self._stream):
            if number >= groups.stop:
                return
            if number in groups:
                chosen = batch.select(list(columns))
                for start in range(0, chosen.num_rows, _ROWS_AT_A_TIME):
                    yield chosen.slice(start, _ROWS_AT_A_TIME)
