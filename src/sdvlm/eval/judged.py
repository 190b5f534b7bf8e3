"""Files that can be scored: what a judge wrote, or what a model answered.

- Judged answers, as ``evaluation/llm_generate.py`` of the released code writes them: a JSON list, first the header line
  as a string, then ``{input, answer, type}``, where ``answer`` is the judge's text.
- Predictions, as ``evaluation/inference.py`` writes them (JSON lines: ``{model}``, then ``{question, pred, gt, type}``)
  or as our own runs do (``answers.jsonl``: ``question``, ``answer``, ``reference``, ``type``, ...).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdvlm.data.msmu_conversation import without_image_marks
from sdvlm.data.msmu_types import official_type
from sdvlm.data.schema import QuestionType
from sdvlm.types import SdvlmError

__all__ = ["JudgedAnswer", "Prediction", "Scorable", "read_scorable"]

_OF_A_RECORD = {"type", "answer", "pred", "question"}
"""what a record has and the header before it has not"""


@dataclass(frozen=True)
class JudgedAnswer:
    """What a judge made of one answer.

    Args:
        number: which record of the file it is, from 1; the header does not count.
        type: official type.
        text: the judge's text; None where the call failed. Any other JSON value is kept as it is: the released script
            cannot read one.
    """

    number: int
    type: QuestionType
    text: object


@dataclass(frozen=True)
class Prediction:
    """What a model answered to one question.

    Args:
        number: which record of the file it is, from 1; the header does not count.
        type: official type.
        question: without ``<image>`` marks.
        reference: the published answer.
        reply: the model's answer.
    """

    number: int
    type: QuestionType
    question: str
    reference: str
    reply: str


@dataclass(frozen=True)
class Scorable:
    """What a file holds: judged answers, or predictions; the other list is empty.

    Args:
        path: the file itself, also where its folder was given.
        model: the model's name as the header gives it; None where there is none.
    """

    path: Path
    judged: list[JudgedAnswer]
    predictions: list[Prediction]
    model: str | None


def read_scorable(path: str | Path) -> Scorable:
    """Read a file of judged answers or of predictions, or the run folder that holds ``answers.jsonl``.

    Raises:
        SdvlmError: no such file, neither of the layouts, an unknown type, or nothing to score; names the row.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "answers.jsonl"
    if not path.is_file():
        raise SdvlmError(f"{path}: no such file; give judged answers, predictions, or a run folder with answers.jsonl")
    header, records = _records(path)
    if not records:
        raise SdvlmError(f"{path}: holds no answers to score")
    judged = [_is_judged(record) for _, record in records]
    if any(judged) and not all(judged):
        number = records[judged.index(not judged[0])][0]
        raise SdvlmError(f"{path}: row {number}: judged answers and predictions are mixed; give one kind a file")
    return Scorable(
        path,
        [_judged(record, number, path) for number, record in records] if judged[0] else [],
        [] if judged[0] else [_prediction(record, number, path) for number, record in records],
        _model(header),
    )


def _model(header: object) -> str | None:
    if isinstance(header, str):
        try:
            header = json.loads(header)
        except (ValueError, RecursionError):
            return None
    name = header.get("model") if isinstance(header, dict) else None
    return name if isinstance(name, str) else None


def _records(path: Path) -> tuple[object, list[tuple[int, dict[str, Any]]]]:
    """The header, and the records with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SdvlmError(f"{path}: is no UTF-8 text; give a JSON or JSON lines file") from error
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        rows = _lines(text, path)
    if isinstance(rows, dict):
        rows = [rows]
    if not isinstance(rows, list):
        raise SdvlmError(f"{path}: must hold a list of answers or JSON lines; got {type(rows).__name__}")
    header = rows.pop(0) if rows and _is_header(rows[0]) else None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise SdvlmError(f"{path}: row {number}: must be an object; got {type(row).__name__}")
    return header, list(enumerate(rows, start=1))


def _lines(text: str, path: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise SdvlmError(f"{path}: line {number}: is no JSON: {error}") from error
    return rows


def _is_header(row: object) -> bool:
    return isinstance(row, str) or (isinstance(row, dict) and not _OF_A_RECORD & row.keys())


def _is_judged(record: dict[str, Any]) -> bool:
    return "answer" in record and "reference" not in record and "pred" not in record


def _type(record: dict[str, Any], number: int, path: Path) -> QuestionType:
    try:
        return official_type(record.get("type"))
    except SdvlmError as error:
        raise SdvlmError(f"{path}: row {number}: {error}") from error


def _judged(record: dict[str, Any], number: int, path: Path) -> JudgedAnswer:
    return JudgedAnswer(number, _type(record, number, path), record["answer"])


def _prediction(record: dict[str, Any], number: int, path: Path) -> Prediction:
    ours = "reference" in record
    names = ("question", "reference", "answer") if ours else ("question", "gt", "pred")
    texts = [record.get(name) for name in names]
    for name, text in zip(names, texts, strict=True):
        if not isinstance(text, str):
            raise SdvlmError(f"{path}: row {number}: wanted text as {name!r}; got {type(text).__name__}")
    question, reference, reply = (str(text) for text in texts)
    return Prediction(number, _type(record, number, path), without_image_marks(question), reference, reply)
