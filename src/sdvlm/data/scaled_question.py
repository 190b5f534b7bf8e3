"""Questions about a picture whose depth is multiplied: the same words, every length in them multiplied as well."""

from __future__ import annotations

import math
from dataclasses import replace

from sdvlm.data.scale_lengths import ScaledText, scale_lengths
from sdvlm.data.schema import AnswerKind, QuestionSample

__all__ = ["SMALLEST_M", "TOO_LONG_M", "scaled_question"]

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
        said = answer.after
        if len(said) != len(typed.values) or min(said) < SMALLEST_M:
            return None
        typed = replace(typed, values=said)
    return replace(sample, question=question.text, answer=answer.text, answer_typed=typed)


def _scaled(text: str, factor: float) -> ScaledText | None:
    scaled = scale_lengths(text, factor, math.inf)
    fits = scaled is not None and all(0 < length < TOO_LONG_M for length in scaled.after)
    return scaled if fits else None
