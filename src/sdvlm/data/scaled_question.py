"""Questions about a picture whose depth is multiplied: the same words, every length in them multiplied as well."""

from __future__ import annotations

import math
from dataclasses import replace

from sdvlm.data.scale_lengths import ScaledText, scale_lengths
from sdvlm.data.schema import AnswerKind, QuestionSample

__all__ = ["SMALLEST_M", "TOO_LONG_M", "scaled_question"]

_OF_LENGTH = (AnswerKind.LENGTH, AnswerKind.LENGTHS)
_SAME_M = 0.006
"""how far a length may be rounded where it is said"""
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
        asked = len(typed.values)  # the last ones: a sentence may say the reference's length first
        same = len(answer.before) >= asked and all(
            math.isclose(said, float(true), abs_tol=_SAME_M)
            for said, true in zip(answer.before[-asked:], typed.values, strict=True)
        )
        if not same or min(answer.after[-asked:]) < SMALLEST_M:
            return None
        typed = replace(typed, values=answer.after[-asked:])
    return replace(sample, question=question.text, answer=answer.text, answer_typed=typed)


def _scaled(text: str, factor: float) -> ScaledText | None:
    scaled = scale_lengths(text, factor, math.inf)
    fits = scaled is not None and all(0 < length < TOO_LONG_M for length in scaled.after)
    return scaled if fits else None
