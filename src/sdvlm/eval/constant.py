"""The best answer that does not look: one constant per kind of question, fitted on training answers.

What a model has to beat. Questions are told apart by family, definition and number of values, all of which the question
itself reveals ("width" or "height", one length or three); the constant is the one that is right most often.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sdvlm.data.schema import AnswerKind, QuestionSample, TypedAnswer
from sdvlm.eval.scoring import DELTA, POINT_TOLERANCE, is_right

__all__ = ["ConstantAnswers"]

_CANDIDATES = 400
_NUMERIC = (AnswerKind.LENGTH, AnswerKind.LENGTHS, AnswerKind.POINT)


class ConstantAnswers:
    """Answers questions without looking.

    For "which of these" the constant is a place in the order of mention ("the first one"), else a value.

    Args:
        samples: questions with their answers to fit on.
    """

    def __init__(self, samples: Iterable[QuestionSample]) -> None:
        groups: dict[tuple[object, ...], list[QuestionSample]] = defaultdict(list)
        for sample in samples:
            groups[_key(sample)].append(sample)
        self._values: dict[tuple[object, ...], TypedAnswer] = {}
        self._places: dict[tuple[object, ...], int] = {}
        for key, group in groups.items():
            answers = [sample.answer_typed for sample in group]
            if _is_choice(group[0]):
                places = Counter(sample.names.index(str(sample.answer_typed.values[0])) for sample in group)
                self._places[key] = places.most_common(1)[0][0]
            elif answers[0].kind in _NUMERIC:
                self._values[key] = _best_numbers(answers)
            else:
                commonest = Counter(answer.values for answer in answers).most_common(1)[0][0]
                self._values[key] = TypedAnswer(answers[0].kind, commonest, answers[0].unit, answers[0].definition)

    def answer(self, sample: QuestionSample) -> TypedAnswer | None:
        """The constant for questions of that kind; None if none was seen in training. The truth is not looked at."""
        key = _key(sample)
        if key in self._places:
            return TypedAnswer(
                AnswerKind.NAME, (sample.names[self._places[key]],), None, sample.answer_typed.definition
            )
        return self._values.get(key)


def _key(sample: QuestionSample) -> tuple[object, ...]:
    answer = sample.answer_typed
    choices = len(sample.names) if _is_choice(sample) else 0
    return sample.type, answer.definition, answer.kind, len(answer.values), choices


def _is_choice(sample: QuestionSample) -> bool:
    return sample.answer_typed.kind is AnswerKind.NAME and len(sample.names) > 1


def _best_numbers(answers: Sequence[TypedAnswer]) -> TypedAnswer:
    """Of many candidates (seen answers, those shifted by the tolerance, the medians) the one right most often."""
    values = np.array([answer.numbers for answer in answers])  # (n, k)
    rows = values[np.linspace(0, len(values) - 1, min(len(values), _CANDIDATES)).astype(int)]
    if answers[0].kind is AnswerKind.POINT:
        candidates = np.vstack([rows, np.median(values, axis=0, keepdims=True), np.full((1, values.shape[1]), 0.5)])
        off = np.abs(candidates[:, None] - values[None]).mean(axis=-1)
        passed = (off <= POINT_TOLERANCE).sum(axis=1)
    else:
        shifted = [rows * DELTA**step for step in (-0.95, -0.5, 0.5, 0.95)]
        candidates = np.vstack([rows, *shifted, np.median(values, axis=0, keepdims=True)])
        ratio = candidates[:, None] / values[None]
        passed = (np.maximum(ratio, 1 / ratio) < DELTA).all(axis=-1).sum(axis=1)
    best = candidates[int(np.argmax(passed))]
    constant = TypedAnswer(answers[0].kind, tuple(best.tolist()), answers[0].unit, answers[0].definition)
    if not any(is_right(constant, answer) for answer in answers):
        return answers[0]
    return constant
