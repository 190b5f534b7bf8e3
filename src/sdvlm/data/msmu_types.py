"""Names of question types: those of the published MSMU rows, and those of the released scoring code.

The published test rows carry finer names (``width``, ``left``, ``distance``) than ``evaluation/evaluate_final.py``
knows, which exits at the first of them. Here every published name leads to its official one, and official names stay.
"""

from __future__ import annotations

from sdvlm.data.schema import QuestionType
from sdvlm.types import SdvlmError

__all__ = ["QUALITATIVE", "QUANTITATIVE", "RAW_TYPES", "official_type"]

RAW_TYPES: dict[str, QuestionType] = {
    "width": QuestionType.SCALE_ESTIMATION,
    "height": QuestionType.SCALE_ESTIMATION,
    "size": QuestionType.SCALE_ESTIMATION,
    "distance": QuestionType.ABSOLUTE_DISTANCE,
    "left": QuestionType.RELATIVE_POSITION,
    "right": QuestionType.RELATIVE_POSITION,
    "taller_two_object": QuestionType.SCALE_COMPARE,
    "tall_three_objects": QuestionType.SCALE_COMPARE,
    "refer_two_objects": QuestionType.REFER_OBJ_ESTIMATION,
    "refer_three_objects": QuestionType.REFER_OBJ_ESTIMATION,
}
"""Published name -> official name; ``zero``, ``count`` and ``position`` are the same in both."""

QUANTITATIVE = (
    QuestionType.SCALE_ESTIMATION,
    QuestionType.ABSOLUTE_DISTANCE,
    QuestionType.COUNT,
    QuestionType.POSITION,
    QuestionType.REFER_OBJ_ESTIMATION,
)
"""Judged by numbers (``answer_in_meters``, ``response_in_meters``), in the order of the released counters."""
QUALITATIVE = (QuestionType.RELATIVE_POSITION, QuestionType.SCALE_COMPARE, QuestionType.ZERO)
"""Judged by a mark (``your_mark``)."""


def official_type(name: object) -> QuestionType:
    """The official type of a published or official name.

    Raises:
        SdvlmError: there is no such type; the message lists those there are.
    """
    if isinstance(name, str):
        if name in RAW_TYPES:
            return RAW_TYPES[name]
        if name in tuple(QuestionType):
            return QuestionType(name)
    known = ", ".join([*QuestionType, *RAW_TYPES])
    raise SdvlmError(f"no question type {name!r}; known are {known}")
