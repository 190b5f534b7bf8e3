"""Changes of depth in training, so that a model neither depends on depth nor ignores it.

A model trained only with depth collapses without it, and one for which the picture alone says enough may ignore it
(fusion methods, pitfall P19): some examples lose their depth, and in some depth says something else than the picture
does and the answers follow the depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sdvlm.data.scale_lengths import ScaledText, scale_lengths
from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.train.config import VarySettings
from sdvlm.train.example import GENERAL, Dialogue, Example
from sdvlm.train.reverse import reversed_depth, reversed_dialogue
from sdvlm.types import DepthKind, DepthMap

__all__ = ["scaled_dialogue", "vary"]

_OF_LENGTH = (AnswerKind.LENGTH, AnswerKind.LENGTHS)
_METRIC = (
    QuestionType.SCALE_ESTIMATION.value, QuestionType.ABSOLUTE_DISTANCE.value, QuestionType.REFER_OBJ_ESTIMATION.value
)  # fmt: skip
_LENGTH_WORDS = (
    "tall", "high", "height", "wide", "width", "long", "length", "deep", "depth", "far", "distance", "apart", "away",
    "size", "dimension", "big", "large", "area", "volume",
)  # fmt: skip


def vary(example: Example, settings: VarySettings, rng: np.random.Generator) -> Example:
    """The example as it is shown this time. The one given stays as it is.

    At most one change is made. An example keeps its depth, its dialogues, or both: one that a change leaves without
    dialogue is shown unchanged.

    Args:
        example: with depth; without, it is returned as it is.
        settings: shares: of the examples that lose their depth, and of the others those that are scaled and reversed.
        rng: three numbers are drawn from it, whatever comes out.
    """
    gone, change, size = (float(draw) for draw in rng.random(3))
    shown = [one for one in example.depth if one is not None]
    if not shown:
        return example
    if gone < settings.depth_dropout:
        return replace(example, depth=(None,) * len(example.depth))
    if change < settings.scaled_depth:
        if any(one.kind is not DepthKind.METRIC for one in shown):
            return example
        factor = math.exp((2 * size - 1) * math.log(settings.largest_scale))
        return _changed(example, lambda one: scaled_dialogue(one, factor), lambda depth: depth.scaled(factor))
    if change < settings.scaled_depth + settings.reversed_depth:
        return _changed(example, reversed_dialogue, reversed_depth)
    return example


def scaled_dialogue(dialogue: Dialogue, factor: float) -> Dialogue | None:
    """The dialogue about a world ``factor`` times as large.

    Every length is multiplied, in the unit and with the decimals it was said with, and the typed answer with it.

    Returns:
        None where a length cannot be found or multiplied: a number in words, an area, a number without unit in a
        dialogue about lengths, or too few decimals for the new value.
    """
    scaled = [scale_lengths(text, factor) for _, text in dialogue.turns]
    known = [one for one in scaled if one is not None]
    if len(known) < len(scaled):
        return None
    if any(one.bare for one in known) and _about_lengths(dialogue):
        return None
    answer = dialogue.answer
    if answer is not None and answer.kind in _OF_LENGTH:
        values = [_said_after(value, known[-1]) for value in answer.numbers]
        if any(value is None for value in values):
            return None
        answer = TypedAnswer(answer.kind, tuple(one for one in values if one is not None), "m", answer.definition)
    turns = tuple((role, one.text) for (role, _), one in zip(dialogue.turns, known, strict=True))
    return replace(dialogue, turns=turns, answer=answer)


def _said_after(value: float, answer: ScaledText) -> float | None:
    """What a length of the answer became, found by what it was."""
    found = [
        after for before, after in zip(answer.before, answer.after, strict=True) if abs(before - value) <= 1e-6 * value
    ]
    return found[-1] if found else None


def _about_lengths(dialogue: Dialogue) -> bool:
    """Whether a bare number in it may be a length."""
    if dialogue.answer is not None:
        return dialogue.answer.kind in _OF_LENGTH
    text = " ".join(text for _, text in dialogue.turns).lower()
    return dialogue.family in _METRIC or (dialogue.family == GENERAL and any(word in text for word in _LENGTH_WORDS))


def _changed(
    example: Example, dialogue: Callable[[Dialogue], Dialogue | None], depth: Callable[[DepthMap], DepthMap]
) -> Example:
    made = [dialogue(one) for one in example.dialogues]
    dialogues = tuple(one for one in made if one is not None)
    if not dialogues:
        return example
    return replace(
        example, dialogues=dialogues, depth=tuple(None if one is None else depth(one) for one in example.depth)
    )
