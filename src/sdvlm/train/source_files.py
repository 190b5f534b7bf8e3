"""Rows of MSMU as published, of LLaVA / ShareGPT files and of Hugging Face chat messages, as rows to train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdvlm.data.msmu_conversation import IMAGE_MARK, read_turns
from sdvlm.data.msmu_files import COLUMNS, read_rows
from sdvlm.data.msmu_picture import picture_bytes
from sdvlm.data.msmu_types import official_type
from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.train.source_pictures import PictureReader, camera_of
from sdvlm.train.source_row import Broken, RawRow
from sdvlm.train.source_turns import dialogues_of, exchanges_of
from sdvlm.types import SdvlmError

__all__ = ["ALL_COLUMNS", "READERS", "file_rows"]

ALL_COLUMNS = (*COLUMNS, "id", "images", "messages", "depth", "camera", "questions")
"""columns that any of the formats reads"""
Cells = Mapping[str, Any]
Turns = Sequence[tuple[str, str]]
Read = tuple[Turns, list[object], list[object], list[object]]
"""turns, and the cells of pictures, depth and cameras"""


def file_rows(
    files: Sequence[Path], format: str, apart: bool, images: Path | None, depth: Path | None
) -> Iterator[RawRow | Broken]:
    """Rows of data files in order; what cannot be used is told. A file that cannot be read on is one broken row.

    Args:
        files: as :func:`sdvlm.data.msmu_files.find_files` gives them.
        format: a key of :data:`READERS`.
        apart: every question and answer is a dialogue of its own.
        images: folder that paths start in; None: the file's.
        depth: folder of depth files named as the pictures, or None.
    """
    read = READERS[format]
    for file in files:
        pictures, number = PictureReader(images or file.parent, depth), 0
        try:
            for cells in read_rows(file, ALL_COLUMNS):
                key = f"{file.name} row {number}"
                if not isinstance(cells, SdvlmError) and isinstance(cells.get("id"), str | int):
                    key += f" ({cells['id']})"
                yield from _rows(cells, key, pictures, read, apart)
                number += 1
        except SdvlmError as error:
            yield Broken(f"{file.name} from row {number}", str(error))


def _rows(
    cells: Cells | SdvlmError,
    key: str,
    pictures: PictureReader,
    read: Callable[[Cells, PictureReader], Read],
    apart: bool,
) -> Iterator[RawRow | Broken]:
    try:
        if isinstance(cells, SdvlmError):
            raise cells
        turns, image_cells, depth_cells, camera_cells = read(cells, pictures)
        found = [pictures.image(cell) for cell in image_cells]
        images = [image for image, _ in found]
        depth = [
            pictures.depth_named(name, image) if cell is None else pictures.depth_cell(cell, image)
            for cell, (image, name) in zip(_for_each(depth_cells, images, "depth"), found, strict=True)
        ]
        cameras = [
            camera_of(cell, image.size)
            for cell, image in zip(_for_each(camera_cells, images, "camera"), images, strict=True)
        ]
        dialogues, faults = dialogues_of(turns, len(images), apart, *_described(cells, turns, len(images)))
    except (SdvlmError, OSError) as error:
        yield Broken(key, str(error))
        return
    yield from (Broken(key, fault) for fault in faults)
    if dialogues:
        yield RawRow(key, tuple(images), tuple(depth), tuple(cameras), tuple(dialogues))


def _msmu(cells: Cells, pictures: PictureReader) -> Read:
    image = cells.get("image")
    path = image.get("path") if isinstance(image, Mapping) else None
    picture = {"bytes": picture_bytes(cells, pictures.folder), "path": path}
    return read_turns(cells.get("conversations")), [picture], [], []


def _llava(cells: Cells, pictures: PictureReader) -> Read:
    images = _listed(cells.get("images") if cells.get("images") is not None else cells.get("image"))
    turns = read_turns(cells.get("conversations"))
    return turns, images, _listed(cells.get("depth")), _listed(cells.get("camera"))


def _messages(cells: Cells, pictures: PictureReader) -> Read:
    waiting = _listed(cells.get("images") if cells.get("images") is not None else cells.get("image"))
    messages = cells.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise SdvlmError(f"messages must be a list of {{role, content}}; got {str(messages)[:60]}")
    turns, images = [], []
    for message in messages:
        role = message.get("role") if isinstance(message, Mapping) else None
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or not isinstance(content, str | list):
            raise SdvlmError(f"a message must be {{role, content: text or parts}}; got {str(message)[:60]}")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = []
        for part in parts:
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind == "text" and isinstance(part.get("text"), str):
                text.append(part["text"])
            elif kind in ("image", "image_url"):
                own = _own_picture(part)
                if own is None and not waiting:
                    raise SdvlmError("the messages have more image parts than there are pictures")
                images.append(waiting.pop(0) if own is None else own)
                text.append(IMAGE_MARK)
            else:
                raise SdvlmError(f"a content part is of type {kind!r}; wanted text or image")
        turns.append((role, "\n".join(text)))
    return turns, images + waiting, _listed(cells.get("depth")), _listed(cells.get("camera"))


READERS: dict[str, Callable[[Cells, PictureReader], Read]] = {"msmu": _msmu, "llava": _llava, "messages": _messages}
"""By name of the format."""


def _own_picture(part: Mapping[str, Any]) -> object:
    """What an image part itself says of its picture; None: it takes the next of the row's."""
    for name in ("image", "image_url", "path", "url", "bytes"):
        value = part.get(name)
        if isinstance(value, Mapping) and "url" in value:
            value = value["url"]
        if value is not None:
            return value.removeprefix("file://") if isinstance(value, str) else value
    return None


def _listed(cell: object) -> list[object]:
    if cell is None or cell == "":
        return []
    return list(cell) if isinstance(cell, list | tuple) else [cell]


def _for_each(cells: list[object], images: Sequence[object], what: str) -> list[object]:
    if cells and len(cells) != len(images):
        raise SdvlmError(f"the row has {len(images)} pictures but {len(cells)} entries of {what}")
    return cells or [None] * len(images)


def _described(cells: Cells, turns: Turns, images: int) -> tuple[list[str], list[TypedAnswer | None]]:
    """Family and typed answer of each exchange, where the row says so: by its type, or by our own export."""
    number = len(exchanges_of(turns, images)[1])
    asked = cells.get("questions")
    if isinstance(asked, Sequence) and len(asked) == number:
        try:
            return [QuestionType(one["task"]).value for one in asked], [_answer_of(one["answer"]) for one in asked]
        except (KeyError, TypeError, ValueError):
            pass  # another data set's questions
    try:
        return [official_type(cells.get("type")).value] * number, []
    except SdvlmError:
        return [], []


def _answer_of(cell: Mapping[str, Any]) -> TypedAnswer:
    """The typed answer of a cell as built data and its exports hold it."""
    values = tuple(cell["words"]) or tuple(cell["numbers"])
    return TypedAnswer(AnswerKind(cell["kind"]), values, cell["unit"], cell["definition"])
