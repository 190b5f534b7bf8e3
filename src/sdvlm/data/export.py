"""Built data in the formats that trainers read: LLaVA, ShareGPT (as LLaMA-Factory takes it), Hugging Face messages.

Pictures and depth become files beside the text. Everything streams. Pictures are written before the text that names
them and the text appears whole or not at all, so an export that was stopped is run again and keeps what it has.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, get_args

from sdvlm.data.built import iter_records
from sdvlm.data.columns import Per, Row, rows_of
from sdvlm.data.encode import picture_header
from sdvlm.data.manifest import MANIFEST, read_manifest
from sdvlm.data.msmu_conversation import IMAGE_MARK, without_image_marks
from sdvlm.data.record import FrameRecord
from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = ["Exported", "Format", "export"]

Format = Literal["llava", "sharegpt", "messages"]
_MILLIMETRE = 0.001
_SUFFIX = {"JPEG": ".jpg", "PNG": ".png"}
Entry = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """One written split.

    Args:
        split: its name.
        path: the text file.
        entries: conversations in it.
        pictures: pictures they speak of.
    """

    split: str
    path: Path
    entries: int
    pictures: int


def export(
    out: Path, dest: Path, format: Format, *, splits: Sequence[str] | None = None, per: Per | None = None
) -> list[Exported]:
    """Write built data for another trainer.

    Args:
        out: folder of finished data.
        dest: folder to write into: ``images/``, ``depth/`` and one text file a split.
        format: ``llava`` (``SPLIT.json``: image, depth, conversations), ``sharegpt`` (``SPLIT.json``: images,
            conversations; and ``dataset_info.json`` for LLaMA-Factory), ``messages`` (``SPLIT.jsonl``: images, depth
            and camera side by side, messages of content parts; cameras count pixel centres as integers, as OpenCV).
        splits: which; all by default.
        per: one conversation a picture or a question; by default what a row of the split holds.

    Raises:
        SdvlmError: the data is unfinished, there is no such split or format, or ``dest`` is itself built data.
    """
    if format not in get_args(Format):
        raise SdvlmError(f"no export format {format!r}; choose one of {', '.join(get_args(Format))}")
    if per is not None and per not in get_args(Per):
        raise SdvlmError(f"a conversation is about a 'picture' or a 'question'; got {per!r}")
    if (dest / MANIFEST).exists():
        raise SdvlmError(f"{dest}: holds built data; export into a folder of its own")
    manifest = read_manifest(out)
    for split in splits or ():
        manifest.shards(split)  # refuses a split that is not there before anything is written
    written = []
    for split in splits or manifest.splits:
        kind = per or ("question" if manifest.per.get(split) == "question" else "picture")
        path = dest / f"{split}{'.jsonl' if format == 'messages' else '.json'}"
        counter = _Counter()
        entries = _entries(iter_records(out, split), dest, split, format, kind, counter)
        with atomic_file(path) as stream:
            (_write_lines if format == "messages" else _write_list)(stream, entries)
        written.append(Exported(split, path, counter.entries, counter.pictures))
    if format == "sharegpt":
        _write_dataset_info(dest, written)
    return written


@dataclass
class _Counter:
    entries: int = 0
    pictures: int = 0


def _entries(
    records: Iterator[FrameRecord], dest: Path, split: str, format: Format, per: Per, counter: _Counter
) -> Iterator[Entry]:
    make: Callable[[Row, str, str | None, str], Entry] = _MAKERS[format]
    for record in records:
        name = _file_name(record.image_id)
        image = f"images/{name}{_SUFFIX[picture_header(record.picture).format]}"
        _write_once(dest / image, record.picture)
        depth = None
        if record.depth_png is not None:
            depth = f"depth/{name}.png"
            _write_once(dest / depth, record.depth_png)
        counter.pictures += 1
        for number, row in enumerate(rows_of(record, per, reasoning=per == "picture" or split == "train")):
            counter.entries += 1
            yield make(row, image, depth, record.image_id if per == "picture" else f"{record.image_id}/{number}")


def _llava(row: Row, image: str, depth: str | None, name: str) -> Entry:
    beside = {} if depth is None else {"depth": depth}
    kind = {} if row["type"] is None else {"type": row["type"]}
    return {"id": name, "image": image} | beside | {"conversations": row["conversations"]} | kind


def _sharegpt(row: Row, image: str, depth: str | None, name: str) -> Entry:
    return {"id": name, "conversations": row["conversations"], "images": [image]}


def _messages(row: Row, image: str, depth: str | None, name: str) -> Entry:
    messages = []
    for turn in row["conversations"]:
        role = {"human": "user", "gpt": "assistant"}[turn["from"]]
        parts: list[Entry] = [{"type": "text", "text": without_image_marks(turn["value"])}]
        if IMAGE_MARK in turn["value"]:
            parts.insert(0, {"type": "image"})
        messages.append({"role": role, "content": parts})
    camera = row["camera"] | {side: row["camera"][side] - 0.5 for side in ("cx", "cy")}
    plane = None if depth is None else {"path": depth, "kind": "metric", "scale_to_m": _MILLIMETRE}
    asked = [{"task": one["type"], "template": one["template"], "answer": one["answer"]} for one in row["questions"]]
    return {
        "id": name,
        "images": [image],
        "depth": [plane],
        "camera": [camera],
        "messages": messages,
        "questions": asked,
        "scene_id": row["scene_id"],
    }


_MAKERS = {"llava": _llava, "sharegpt": _sharegpt, "messages": _messages}


def _write_list(stream: IO[bytes], entries: Iterator[Entry]) -> None:
    stream.write(b"[")
    for index, entry in enumerate(entries):
        stream.write(b",\n" if index else b"\n")
        stream.write(_json(entry))
    stream.write(b"\n]\n")


def _write_lines(stream: IO[bytes], entries: Iterator[Entry]) -> None:
    for entry in entries:
        stream.write(_json(entry) + b"\n")


def _write_dataset_info(dest: Path, written: Sequence[Exported]) -> None:
    """What LLaMA-Factory's ``dataset_dir`` needs; its default tags (from, value, human, gpt) are ours."""
    columns = {"messages": "conversations", "images": "images"}
    info = {
        f"sdvlm_{one.split}": {"file_name": one.path.name, "formatting": "sharegpt", "columns": columns}
        for one in written
    }
    with atomic_file(dest / "dataset_info.json") as stream:
        stream.write(json.dumps(info, indent=2).encode() + b"\n")


def _json(entry: Entry) -> bytes:
    return json.dumps(entry, ensure_ascii=False, allow_nan=False).encode()


def _write_once(path: Path, data: bytes) -> None:
    if not (path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data):
        with atomic_file(path) as stream:
            stream.write(data)


def _file_name(image_id: str) -> str:
    """A path below a folder, without a suffix: the picture's id where it is one, else made one that nothing shares."""
    safe = [re.sub(r"[^\w-]", "_", part, flags=re.ASCII)[:80] for part in PurePosixPath(image_id).parts]
    name = "/".join(part for part in safe if part)
    return name if name == image_id else f"{name}-{hashlib.sha256(image_id.encode()).hexdigest()[:12]}"
