"""Read built data back: rows, pictures or frame records of a split, in order, a few in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from sdvlm.data.columns import Row, record_of
from sdvlm.data.manifest import read_manifest
from sdvlm.data.parquet import iter_tables
from sdvlm.data.record import FrameRecord

__all__ = ["iter_pictures", "iter_records", "iter_rows"]

_AT_ONCE = 8
"""rows as Python values at a time; a picture takes a third more than its size as base64 text"""


def iter_rows(
    out: Path, split: str, columns: Collection[str] | None = None, images: Collection[str] | None = None
) -> Iterator[Row]:
    """Rows of a split in order, one row group in memory.

    Args:
        out: folder of finished data.
        split: which.
        columns: only these; pictures stay on disk unless they are asked for.
        images: only rows with these ``image_id``.

    Raises:
        SdvlmError: the data is unfinished, has no such split, or a shard is damaged.
    """
    for shard in read_manifest(out).shards(split):
        for table in iter_tables(out / shard.path, None if columns is None else list(columns), images):
            for start in range(0, table.num_rows, _AT_ONCE):
                yield from table.slice(start, _AT_ONCE).to_pylist()


def iter_pictures(
    out: Path, split: str, columns: Collection[str] | None = None, images: Collection[str] | None = None
) -> Iterator[Row]:
    """As :func:`iter_rows`, with rows that ask about the same picture (they stand together) made one.

    ``columns`` must hold ``image_id`` and ``questions``.
    """
    picture: Row | None = None
    for row in iter_rows(out, split, columns, images):
        if picture is not None and row["image_id"] == picture["image_id"]:
            picture["questions"] += row["questions"]
            continue
        if picture is not None:
            yield picture
        picture = row
    if picture is not None:
        yield picture


def iter_records(out: Path, split: str, images: Collection[str] | None = None) -> Iterator[FrameRecord]:
    """The frames of a split in order, each with all its questions, whether a row holds a picture or a question.

    Raises:
        SdvlmError: as :func:`iter_rows`, or a row is not as it was written.
    """
    for row in iter_pictures(out, split, images=images):
        yield record_of(row)
