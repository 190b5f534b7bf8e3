"""Reference heights in metres where the answer is asked for in another unit.

The data (``data.ask_measures``) gives a reference height in the unit of the answer, so a model that saw nothing else
need not read which unit is asked for. Users mix them: "the table is 0.75 m high, how tall is the lamp in inches?"
"""

from __future__ import annotations

from typing import Any

from sdvlm.data.schema import QuestionType
from sdvlm.data.units import UNITS, format_length

__all__ = ["reference_in_metres"]

_METRE = UNITS["m"]


def reference_in_metres(question: dict[str, Any]) -> dict[str, Any]:
    """The question (``frames.plain_question``) with the height that it gives in metres, the answer's unit as it was.

    One that is asked in metres anyway, or gives no height, stays as it is.
    """
    unit = UNITS[question["said_unit"]]
    if QuestionType(question["type"]) is not QuestionType.REFER_OBJ_ESTIMATION or unit is _METRE:
        return question
    said = unit.said.search(question["question"])
    if said is None:
        return question
    number, _ = format_length(float(said[1]) * float(unit.metres))
    given = f"{number} {_METRE.word if said[2] == unit.word else _METRE.symbol}"
    text = question["question"]
    return {**question, "question": text[: said.start()] + given + text[said.end() :]}
