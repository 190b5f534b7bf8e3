"""Questions about a picture whose depth is multiplied: the same words, every length in them multiplied as well."""

from __future__ import annotations

import re
from dataclasses import replace

from sdvlm.data.schema import AnswerKind, QuestionSample

__all__ = ["SMALLEST_M", "TOO_LONG_M", "scaled_question"]

_LENGTH = re.compile(r"(?<![\d.])(\d+\.\d\d)(?= (?:m|meters)\b)")
_OF_LENGTH = (AnswerKind.LENGTH, AnswerKind.LENGTHS)
TOO_LONG_M = 10.0
"""nano writes lengths as d.dd"""
SMALLEST_M = 0.05
"""below, two decimals are too coarse for the tolerance of 1.25"""


def scaled_question(sample: QuestionSample, factor: float) -> QuestionSample | None:
    """The question with every length in it and in its answer times ``factor``, rounded to two decimals.

    None where the answer holds a length that would not fit: ten metres and more, or less than five centimetres.
    Families whose answers hold no length keep their answers: places, counts, names, who is nearer or taller.
    """
    question, answer = (_scaled(text, factor) for text in (sample.question, sample.answer))
    if question is None or answer is None:
        return None
    typed = sample.answer_typed
    if typed.kind in _OF_LENGTH:
        said = tuple(float(one) for one in _LENGTH.findall(answer))
        if len(said) != len(typed.values) or min(said) < SMALLEST_M:
            return None
        typed = replace(typed, values=said)
    return replace(sample, question=question, answer=answer, answer_typed=typed)


def _scaled(text: str, factor: float) -> str | None:
    lengths = [round(float(one) * factor, 2) for one in _LENGTH.findall(text)]
    if any(not 0 < length < TOO_LONG_M for length in lengths):
        return None
    replaced = iter(lengths)
    return _LENGTH.sub(lambda _: f"{next(replaced):.2f}", text)
