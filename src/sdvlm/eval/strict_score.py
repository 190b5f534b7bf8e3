"""The corrected scoring of judged answers.

Against the released one (``official_score``): every item of a list has to pass and none may be missing or added, counts
have to be equal, zero and negative lengths are no lengths, a mark is 0 or 1, words have to be the same name; and the
judge's object counts however it is wrapped, with numbers in quotation marks or with a unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sdvlm.data.msmu_types import QUALITATIVE
from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.eval.answers import parse_kind
from sdvlm.eval.judge_text import JudgeTextError, parse_leniently
from sdvlm.eval.scoring import is_right

__all__ = ["StrictVerdict", "strict_verdict"]


@dataclass(frozen=True)
class StrictVerdict:
    """Whether a judged answer passes, and whether the judge's text could be read."""

    right: bool
    parsed: bool


_UNREAD = StrictVerdict(False, False)


def strict_verdict(kind: QuestionType, text: object) -> StrictVerdict:
    """Score one judged answer by the corrected rules.

    Lengths pass below 1.25 times off, points when their coordinates are off by at most 0.1 on average, both up to
    floating-point noise.

    Args:
        kind: official type.
        text: what the judge wrote.
    """
    try:
        value = parse_leniently(text)
    except JudgeTextError:
        return _UNREAD
    if kind in QUALITATIVE:
        mark = _number(value.get("your_mark"), AnswerKind.COUNT)
        return StrictVerdict(mark == 1, mark in (0, 1))
    if not {"answer_in_meters", "response_in_meters"} <= value.keys():
        return _UNREAD
    answer, response = value["answer_in_meters"], value["response_in_meters"]
    truth = _typed(kind, answer)
    return _UNREAD if truth is None else StrictVerdict(is_right(_typed(kind, response), truth), True)


def _typed(kind: QuestionType, value: Any) -> TypedAnswer | None:
    """One side as an answer; None where it is none, which is right for no truth."""
    if kind is QuestionType.POSITION and isinstance(value, str):
        point = parse_kind(value, AnswerKind.POINT)
        return point or (TypedAnswer(AnswerKind.NAME, (value,)) if value.strip() else None)
    one = AnswerKind.COUNT if kind is QuestionType.COUNT else AnswerKind.LENGTH
    numbers = [_number(item, one) for item in (value if isinstance(value, list | tuple) else [value])]
    found = tuple(number for number in numbers if number is not None)
    if not found or len(found) < len(numbers):
        return None
    if kind is QuestionType.POSITION:
        return TypedAnswer(AnswerKind.POINT, found)
    if kind is QuestionType.COUNT:
        return TypedAnswer(AnswerKind.COUNT, found)
    return TypedAnswer(AnswerKind.LENGTHS, found, "m")


def _number(item: Any, kind: AnswerKind) -> float | None:
    """A number, one in quotation marks, or one in words or with a unit."""
    if isinstance(item, int | float):
        try:
            return float(item) if math.isfinite(item) else None
        except OverflowError:  # an integer of more than 308 digits
            return None
    if not isinstance(item, str):
        return None
    try:
        return _number(float(item), kind)
    except ValueError:
        parsed = parse_kind(item, kind)
        return parsed.numbers[0] if parsed is not None else None
