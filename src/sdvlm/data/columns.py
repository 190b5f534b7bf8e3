"""The columns of built data, and the way between a frame's record and its rows.

MSMU's own columns come first (``image_base64, image_size, image_mode, conversations, type``), so what reads the
published data reads this; the rest says where every answer came from. Training rows are whole pictures (one
conversation of many turns, ``type`` null), test rows single questions, as MSMU is published.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from sdvlm.data.encode import picture_header
from sdvlm.data.msmu_conversation import IMAGE_MARK
from sdvlm.data.record import FrameRecord, ObjectRecord
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.extras import require
from sdvlm.types import Camera, SdvlmError

__all__ = ["BULKY", "Per", "Row", "arrow_schema", "record_of", "rows_of", "sample_of", "split_row", "with_questions"]

Per = Literal["picture", "question"]
"""What one row holds: a picture with all its questions, or one question."""
Row = dict[str, Any]
"""One row as plain values, as pyarrow's ``to_pylist`` and ``datasets`` give it."""

BULKY = ("image_base64", "depth")
"""columns that hold nearly all the bytes; whoever needs only the text leaves them on disk"""


def arrow_schema() -> Any:
    """The Arrow schema of a row, in the order of its columns.

    Answers are Arrow-typed: numbers in one list, words in another, one of them empty. Rotations and poses are row by
    row (9 and 16 numbers). ``camera`` has pixel centres at +0.5.

    Raises:
        SdvlmError: pyarrow is not installed.
    """
    pa = require("pyarrow", "writing parquet")
    text, real, reals = pa.string(), pa.float64(), pa.list_(pa.float64())
    answer = pa.struct(
        [
            ("kind", text),
            ("numbers", reals),
            ("words", pa.list_(text)),
            ("unit", text),
            ("said_unit", text),
            ("definition", text),
        ]
    )
    seen = pa.struct(
        [
            ("id", pa.int32()),
            ("category", text),
            ("name", text),
            ("center_cam", reals),
            ("size_lwh", reals),
            ("rotation_cam", reals),
            ("bounds_px", reals),
            ("centroid_px", reals),
            ("pixel_count", pa.int32()),
            ("visibility", real),
            ("truncation", real),
            ("dropped", text),
        ]
    )
    question = pa.struct(
        [
            ("type", text),
            ("template", text),
            ("question", text),
            ("answer_text", text),
            ("answer", answer),
            ("objects", pa.list_(pa.int32())),
            ("names", pa.list_(text)),
            ("point", reals),
            ("reasoning", text),
        ]
    )
    camera = pa.struct(
        [("width", pa.int32()), ("height", pa.int32()), ("fx", real), ("fy", real), ("cx", real), ("cy", real)]
    )
    return pa.schema(
        [
            ("image_base64", text),
            ("image_size", pa.list_(pa.int32())),
            ("image_mode", text),
            ("conversations", pa.list_(pa.struct([("from", text), ("value", text)]))),
            ("type", text),
            ("image_id", text),
            ("scene_id", text),
            ("frame_id", text),
            ("depth", pa.binary()),
            ("camera", camera),
            ("T_world_cam", reals),
            ("answer", answer),
            ("template", text),
            ("objects", pa.list_(seen)),
            ("questions", pa.list_(question)),
            ("source", text),
            ("box_source", text),
            ("depth_source", text),
        ]
    )


def rows_of(record: FrameRecord, per: Per = "picture", *, reasoning: bool | None = None) -> list[Row]:
    """The rows of a record: one with all its questions, or one a question; none if it asks nothing.

    Args:
        record: the frame.
        per: what a row holds.
        reasoning: whether an answer in ``conversations`` starts with its chain of thought, where it has one. By default
            in rows of pictures, which are trained on, and not in rows of questions, whose answer is scored against.

    Raises:
        SdvlmError: a question or answer holds the image mark, or an answer mixes numbers and words.
    """
    if not record.samples:
        return []
    questions = [_question_cell(sample, record) for sample in record.samples]
    pose = record.T_world_cam
    row: Row = {
        "image_base64": base64.b64encode(record.picture).decode("ascii"),
        "image_size": list(record.size),
        "image_mode": picture_header(record.picture).mode,
        "conversations": _turns(questions, reasoning is not False),
        "type": None,
        "image_id": record.image_id,
        "scene_id": record.scene_id,
        "frame_id": record.frame_id,
        "depth": record.depth_png,
        "camera": {name: getattr(record.camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")},
        "T_world_cam": None if pose is None else np.asarray(pose, dtype=np.float64).ravel().tolist(),
        "answer": None,
        "template": None,
        "objects": [_object_cell(thing) for thing in record.objects],
        "questions": questions,
        "source": record.source,
        "box_source": record.box_source,
        "depth_source": record.depth_source,
    }
    return [row] if per == "picture" else split_row(row, reasoning is True)


def split_row(row: Row, reasoning: bool = False) -> list[Row]:
    """The rows of single questions that a row of a picture stands for; ``reasoning`` as in :func:`rows_of`."""
    return [
        row
        | {
            "conversations": _turns([question], reasoning),
            "type": question["type"],
            "answer": question["answer"],
            "template": question["template"],
            "questions": [question],
        }
        for question in row["questions"]
    ]


def with_questions(row: Row, questions: list[Row]) -> Row:
    """The row of a picture with these of its questions alone."""
    return row | {"questions": questions, "conversations": _turns(questions, True)}


def record_of(row: Mapping[str, Any]) -> FrameRecord:
    """The record a row was written from; of a question's row, with that question alone.

    Raises:
        SdvlmError: a column is missing or does not hold what :func:`rows_of` writes.
    """
    try:
        pose = row["T_world_cam"]
        return FrameRecord(
            scene_id=row["scene_id"],
            frame_id=row["frame_id"],
            image_id=row["image_id"],
            picture=base64.b64decode(row["image_base64"], validate=True),
            size=(row["image_size"][0], row["image_size"][1]),
            depth_png=row["depth"],
            camera=Camera(**row["camera"]),
            T_world_cam=None if pose is None else np.array(pose, dtype=np.float64).reshape(4, 4),
            objects=tuple(_object_of(cell) for cell in row["objects"]),
            samples=tuple(sample_of(cell) for cell in row["questions"]),
            source=row["source"],
            box_source=row["box_source"],
            depth_source=row["depth_source"],
        )
    except SdvlmError:
        raise
    except KeyError as error:
        raise SdvlmError(f"the row has no {error}; wanted a row that sdvlm build wrote") from error
    except (TypeError, ValueError, IndexError, binascii.Error) as error:
        raise SdvlmError(f"the row is not as sdvlm build writes it: {type(error).__name__}: {error}") from error


def _turns(questions: list[Row], reasoning: bool) -> list[Row]:
    """Human and model in turn; the picture's mark stands once, before the first question."""
    turns = []
    for index, cell in enumerate(questions):
        asked = f"{IMAGE_MARK}\n{cell['question']}" if index == 0 else cell["question"]
        told = f"{cell['reasoning']}\n{cell['answer_text']}" if reasoning and cell["reasoning"] else cell["answer_text"]
        turns += [{"from": "human", "value": asked}, {"from": "gpt", "value": told}]
    return turns


def _question_cell(sample: QuestionSample, record: FrameRecord) -> Row:
    for said in (sample.question, sample.answer, sample.reasoning or ""):
        if IMAGE_MARK in said:
            raise SdvlmError(
                f"{record.image_id}: a text holds {IMAGE_MARK}, which marks the picture: {said!r}; rename it"
            )
    typed = sample.answer_typed
    words = [value for value in typed.values if isinstance(value, str)]
    if words and len(words) < len(typed.values):
        raise SdvlmError(f"{record.image_id}: an answer mixes numbers and words: {typed.values}; split it in two")
    return {
        "type": sample.type.value,
        "template": sample.template,
        "question": sample.question,
        "answer_text": sample.answer,
        "answer": {
            "kind": typed.kind.value,
            "numbers": [] if words else list(typed.numbers),
            "words": words,
            "unit": typed.unit,
            "said_unit": None if typed.unit is None and sample.said_unit == "m" else sample.said_unit,
            "definition": typed.definition,
        },
        "objects": list(sample.objects),
        "names": list(sample.names),
        "point": None if sample.point is None else list(sample.point),
        "reasoning": sample.reasoning,
    }


def sample_of(cell: Mapping[str, Any]) -> QuestionSample:
    """The question that an entry of a row's ``questions`` was written from."""
    answer, point = cell["answer"], cell["point"]
    values = tuple(answer["words"]) or tuple(answer["numbers"])
    return QuestionSample(
        question=cell["question"],
        answer=cell["answer_text"],
        type=QuestionType(cell["type"]),
        answer_typed=TypedAnswer(AnswerKind(answer["kind"]), values, answer["unit"], answer["definition"]),
        objects=tuple(cell["objects"]),
        names=tuple(cell["names"]),
        template=cell["template"],
        point=None if point is None else (point[0], point[1]),
        said_unit=answer["said_unit"] or "m",
        reasoning=cell["reasoning"],
    )


def _object_cell(thing: ObjectRecord) -> Row:
    return {
        "id": thing.id,
        "category": thing.category,
        "name": thing.name,
        "center_cam": list(thing.center_cam),
        "size_lwh": list(thing.size_lwh),
        "rotation_cam": [value for line in thing.rotation_cam for value in line],
        "bounds_px": list(thing.bounds_px),
        "centroid_px": None if thing.centroid_px is None else list(thing.centroid_px),
        "pixel_count": thing.pixel_count,
        "visibility": thing.visibility,
        "truncation": thing.truncation,
        "dropped": thing.dropped,
    }


def _object_of(cell: Mapping[str, Any]) -> ObjectRecord:
    (x, y, z), (length, width, height) = cell["center_cam"], cell["size_lwh"]
    a, b, c, d, e, f, g, h, i = cell["rotation_cam"]
    x0, y0, x1, y1 = cell["bounds_px"]
    centroid = cell["centroid_px"]
    return ObjectRecord(
        id=cell["id"],
        category=cell["category"],
        name=cell["name"],
        center_cam=(x, y, z),
        size_lwh=(length, width, height),
        rotation_cam=((a, b, c), (d, e, f), (g, h, i)),
        bounds_px=(x0, y0, x1, y1),
        pixel_count=cell["pixel_count"],
        visibility=cell["visibility"],
        truncation=cell["truncation"],
        centroid_px=None if centroid is None else (centroid[0], centroid[1]),
        dropped=cell["dropped"],
    )
