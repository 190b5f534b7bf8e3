"""How rows lie in a parquet file: the same bytes for the same rows, and a repeated picture stored once.

No time stamp, fixed row groups and compression. Rows of single questions repeat their picture: a dictionary that may
hold a whole row group's pictures keeps one copy of each. What the rows are is said by a layout: questions
(:data:`BUILT`) or RGB-D pairs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sdvlm.data.columns import BULKY, Row, arrow_schema
from sdvlm.data.manifest import FORMAT, MAKER
from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["BUILT", "Layout", "RowWriter", "iter_tables", "open_rows", "read_meta"]

_DICTIONARY_BYTES = 1 << 30
_META = b"sdvlm"


@dataclass(frozen=True)
class Layout:
    """What kind of rows files hold, and how they lie there.

    Args:
        format: written into every file; others are refused.
        maker: the verb that writes them, for messages.
        schema: makes the Arrow schema.
        bulky: columns that hold nearly all the bytes.
        statistics: columns with smallest and largest value in each row group.
        together: rows that are alike in this column share a row group; None: none need to.
        group_bytes: a row group ends when its bulky columns fill this much memory,
        group_rows: or it holds this many rows.
        stored: bulky columns are stored as they are: their bytes are compressed already.
    """

    format: str
    maker: str
    schema: Callable[[], Any]
    bulky: tuple[str, ...]
    statistics: tuple[str, ...] = ()
    together: str | None = None
    group_bytes: int = 32 << 20
    group_rows: int = 256
    stored: bool = False


BUILT = Layout(
    FORMAT, MAKER, arrow_schema, BULKY, ("type", "image_id", "scene_id", "frame_id", "template"), together="image_id"
)
"""questions about pictures, as ``sdvlm build`` writes them"""


class RowWriter:
    """Rows into one open stream; use it as a context manager, the file is whole when it ends.

    Args:
        stream: binary, writable.
        per: what a row holds ("picture", "question", ...); decides how pictures are stored.
        meta: JSON values kept in the file's own metadata.
        layout: of the rows.
    """

    def __init__(self, stream: IO[bytes], per: str, meta: Mapping[str, Any], layout: Layout = BUILT) -> None:
        pq = require("pyarrow.parquet", "writing parquet")
        self._pa = require("pyarrow", "writing parquet")
        text = json.dumps({"format": layout.format, "per": per} | dict(meta), sort_keys=True, ensure_ascii=False)
        self.schema = layout.schema().with_metadata({_META: text.encode()})
        self.rows, self._stream, self._layout = 0, stream, layout
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._last: object = None
        lean = _leaves(self.schema, without=layout.bulky)
        self._writer: Any = pq.ParquetWriter(
            stream,
            self.schema,
            compression=dict.fromkeys(lean, "zstd") | dict.fromkeys(layout.bulky, "none") if layout.stored else "zstd",
            compression_level=dict.fromkeys(lean, 3) if layout.stored else 3,
            use_dictionary=True if per == "question" else lean,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=list(layout.statistics),
            data_page_version="1.0",
            version="2.6",
        )

    @property
    def bytes(self) -> int:
        """Bytes written so far, and those of the pictures that wait for their row group to fill."""
        return self._stream.tell() + self._waiting_bytes

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows.

        Raises:
            SdvlmError: a value is not of its column's type.
        """
        try:
            table = self._pa.Table.from_pylist(rows, schema=self.schema)
        except (self._pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            said = " ".join(str(error).split())
            raise SdvlmError(f"rows do not fit the columns of {self._layout.maker}: {said}") from error
        self.write_table(table)

    def write_table(self, table: Any) -> None:
        """Add the rows of an Arrow table of the layout's schema."""
        layout = self._layout
        images = [object()] * table.num_rows if layout.together is None else table.column(layout.together).to_pylist()
        start = 0
        for index, (image, size) in enumerate(zip(images, _bulk(table, layout.bulky), strict=True)):
            full = self._waiting_rows >= layout.group_rows or self._waiting_bytes >= layout.group_bytes
            if full and image != self._last:  # rows of one picture share a group, where it is stored once
                self._waiting.append(table.slice(start, index - start))
                start = index
                self._flush()
            self._waiting_rows += 1
            self._waiting_bytes += size
            self._last = image
        self._waiting.append(table.slice(start))
        self.rows += table.num_rows

    def _flush(self) -> None:
        if self._waiting_rows:
            self._writer.write_table(
                self._pa.concat_tables(self._waiting).combine_chunks(), row_group_size=self._waiting_rows
            )
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def open_rows(path: Path, layout: Layout = BUILT) -> Any:
    """A parquet file of rows, open for reading (a ``pyarrow.parquet.ParquetFile``).

    Raises:
        SdvlmError: it is missing, cut short, damaged, or of other columns.
    """
    pa, pq = require("pyarrow", "reading parquet"), require("pyarrow.parquet", "reading parquet")
    try:
        file = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
        schema = file.schema_arrow
    except FileNotFoundError:
        raise SdvlmError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise SdvlmError(f"{path}: is cut short, damaged or no parquet file: {said}; build it again") from error
    if not schema.equals(layout.schema(), check_metadata=False):
        raise SdvlmError(f"{path}: has other columns than {layout.maker} writes in this version; build it again")
    return file


def read_meta(path: Path, layout: Layout = BUILT) -> dict[str, Any]:
    """The JSON values that were written into a file of rows.

    Raises:
        SdvlmError: as :func:`open_rows`, or the file carries none.
    """
    with open_rows(path, layout) as file:
        text = (file.schema_arrow.metadata or {}).get(_META, b"")
    try:
        meta = json.loads(text)
        if meta["format"] != layout.format:
            raise SdvlmError(
                f"{path}: is of format {meta['format']!r}; this version reads {layout.format!r}; build it again"
            )
    except SdvlmError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SdvlmError(f"{path}: does not say what it holds ({error}); build it again") from error
    return dict(meta)


def iter_tables(
    path: Path,
    columns: Sequence[str] | None = None,
    images: Collection[str] | None = None,
    layout: Layout = BUILT,
) -> Iterator[Any]:
    """The row groups of a file as Arrow tables, one in memory at a time.

    Args:
        path: of the file.
        columns: only these; None: all.
        images: only rows with these ``image_id``; row groups without any are not read.
        layout: of the rows.

    Raises:
        SdvlmError: as :func:`open_rows`, or a row group is damaged.
    """
    pa = require("pyarrow", "reading parquet")
    with open_rows(path, layout) as file:
        for index in range(file.metadata.num_row_groups):
            try:
                if images is None:
                    yield file.read_row_group(index, columns=columns, use_threads=False)
                    continue
                wanted = [
                    image in images for image in file.read_row_group(index, ["image_id"]).column("image_id").to_pylist()
                ]
                if any(wanted):
                    yield file.read_row_group(index, columns=columns, use_threads=False).filter(pa.array(wanted))
            except (pa.ArrowException, OSError, ValueError) as error:
                said = " ".join(str(error).split()) or type(error).__name__
                raise SdvlmError(f"{path}: row group {index} is damaged: {said}; build it again") from error


def _bulk(table: Any, bulky: Sequence[str]) -> list[int]:
    """Bytes of the bulky columns of each row."""
    compute = require("pyarrow.compute", "writing parquet")
    sizes = [compute.fill_null(compute.binary_length(table.column(name)), 0).to_pylist() for name in bulky]
    return [sum(row) for row in zip(*sizes, strict=True)]


def _leaves(schema: Any, without: Sequence[str]) -> list[str]:
    """Paths of the parquet leaf columns, as ``use_dictionary`` wants them."""
    pa = require("pyarrow", "writing parquet")

    def below(path: str, kind: Any) -> Iterator[str]:
        if pa.types.is_struct(kind):
            for index in range(kind.num_fields):
                yield from below(f"{path}.{kind.field(index).name}", kind.field(index).type)
        elif pa.types.is_list(kind):
            yield from below(f"{path}.list.element", kind.value_type)
        else:
            yield path

    return [leaf for field in schema if field.name not in without for leaf in below(field.name, field.type)]
