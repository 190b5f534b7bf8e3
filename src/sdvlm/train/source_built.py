"""Data of ``sdvlm build`` as rows to train on: pictures with depth, camera, and answers as values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path

from sdvlm.data.columns import Row, sample_of
from sdvlm.data.manifest import read_manifest
from sdvlm.data.msmu_conversation import read_turns
from sdvlm.data.parquet import iter_tables
from sdvlm.train.source_pictures import PictureReader
from sdvlm.train.source_row import Broken, RawRow
from sdvlm.train.source_turns import dialogues_of
from sdvlm.types import Camera, SdvlmError

__all__ = ["built_rows"]

_COLUMNS = ["image_base64", "conversations", "image_id", "depth", "camera", "questions", "depth_source"]
_AT_ONCE = 8
"""rows as Python values at a time; a picture takes a third more than its size as base64 text"""


def built_rows(folder: Path, split: str, apart: bool) -> Iterator[RawRow | Broken]:
    """Rows of a split in order; what cannot be used is told. A shard that cannot be read is one broken row.

    Raises:
        SdvlmError: the data is unfinished, or has no such split.
    """
    shards = read_manifest(folder).shards(split)
    return _stream(folder, [shard.path for shard in shards], apart)


def _stream(folder: Path, shards: list[str], apart: bool) -> Iterator[RawRow | Broken]:
    pictures = PictureReader(folder)
    for shard in shards:
        number = 0
        try:
            for table in iter_tables(folder / shard, _COLUMNS):
                for start in range(0, table.num_rows, _AT_ONCE):
                    for row in table.slice(start, _AT_ONCE).to_pylist():
                        yield from _rows(row, f"{shard} row {number}", pictures, apart)
                        number += 1
        except SdvlmError as error:
            yield Broken(f"{shard} from row {number}", str(error))


def _rows(row: Row, key: str, pictures: PictureReader, apart: bool) -> Iterator[RawRow | Broken]:
    try:
        image, _ = pictures.image(base64.b64decode(row["image_base64"] or "", validate=True))
        depth = row["depth"]
        raw_depth = None if depth is None else pictures.depth_bytes(depth, image, row["depth_source"] or "unknown")
        camera = Camera(**row["camera"])
        if camera.size != image.size:
            raise SdvlmError(f"the camera is for {camera.size} pixels but the picture is {image.size}")
        samples = [sample_of(cell) for cell in row["questions"]]
        dialogues, faults = dialogues_of(
            read_turns(row["conversations"]),
            1,
            apart,
            [sample.type.value for sample in samples],
            [sample.answer_typed for sample in samples],
            [sample.names for sample in samples],
        )
    except SdvlmError as error:
        yield Broken(key, str(error))
        return
    except (binascii.Error, ValueError, TypeError, KeyError) as error:
        yield Broken(key, f"is not as sdvlm build writes it: {type(error).__name__}: {error}")
        return
    yield from (Broken(key, fault) for fault in faults)
    if dialogues:
        yield RawRow(key, (image,), (raw_depth,), (camera,), tuple(dialogues))
