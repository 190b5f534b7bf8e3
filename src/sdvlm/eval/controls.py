"""Does the model use depth, and rightly? The controls that ask: T1 to T5 and T7 of the behavioural harness.

T0 and T6, which look at tokens, are ``eval.token_controls``; T8, the toy task, is ``eval.toy``.

Shape tests prove nothing here, and neither does "the answer changed": a min-max model at 0.58 accuracy changes half of
its answers when depth is swapped. So each control compares with a truth: the swapped truth, the scaled length, the
accuracy without depth. They run on anything that answers questions about a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.eval.perturb import (
    as_disparity,
    with_constant_depth,
    with_noise_depth,
    with_scaled_depth,
    with_shuffled_depth,
    without_depth,
)
from sdvlm.eval.scoring import is_right
from sdvlm.types import RgbdFrame, SdvlmError

__all__ = [
    "Answerer",
    "ControlResult",
    "ControlSample",
    "constant",
    "missing",
    "noise",
    "scale",
    "scaled_sample",
    "share_right",
    "shuffle",
    "sign",
    "swap",
]


class Answerer(Protocol):
    """A model seen from outside: a frame and questions about it in, an answer (None: unreadable) for each out."""

    def __call__(self, frame: RgbdFrame, questions: Sequence[str]) -> Sequence[TypedAnswer | None]: ...


@dataclass(frozen=True)
class ControlSample:
    """A question about a frame and its true answer. Samples of one picture share the frame object."""

    frame: RgbdFrame
    question: str
    truth: TypedAnswer


@dataclass(frozen=True)
class ControlResult:
    """What a control found.

    Args:
        name: T0 to T8 and the control's name.
        value: the measured number.
        threshold: what it was held against.
        passed: None where the control does not apply; ``why`` then says why not.
        why: value and threshold in words.
    """

    name: str
    value: float
    threshold: float
    passed: bool | None
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


Change = Callable[[RgbdFrame], RgbdFrame]


def share_right(answerer: Answerer, samples: Sequence[ControlSample], change: Change | None = None) -> float:
    """Share of samples answered rightly (strict rules of ``eval.scoring``), the frames changed first if asked."""
    answers = _answers(answerer, samples, change)
    return float(np.mean([is_right(a, s.truth) for a, s in zip(answers, samples, strict=True)]))


def _answers(
    answerer: Answerer, samples: Sequence[ControlSample], change: Change | None = None
) -> list[TypedAnswer | None]:
    """Answers in order; the questions of one frame are asked together."""
    if not samples:
        raise SdvlmError("a control needs at least one sample; got none")
    by_frame: dict[int, list[int]] = {}
    for index, sample in enumerate(samples):
        by_frame.setdefault(id(sample.frame), []).append(index)
    answers: list[TypedAnswer | None] = [None] * len(samples)
    for members in by_frame.values():
        frame = samples[members[0]].frame
        said = answerer(frame if change is None else change(frame), [samples[i].question for i in members])
        for index, answer in zip(members, said, strict=True):
            answers[index] = answer
    return answers


def _noise(share: float, count: int) -> float:
    """Two standard errors of the difference of two shares: what sampling alone may move one against the other by."""
    return 2 * math.sqrt(2 * max(share * (1 - share), 0.25 / count) / count)


def swap(
    answerer: Answerer,
    samples: Sequence[ControlSample],
    counterfactuals: Sequence[ControlSample],
    threshold: float = 0.9,
) -> ControlResult:
    """T1: given another depth for the same picture and question, the answer is the truth of *that* depth.

    Args:
        samples: as they are.
        counterfactuals: one each, with the same picture and question, another depth and the truth that goes with it.
        threshold: least share right, among the pairs whose two truths differ.
    """
    pairs = [
        (before, after)
        for before, after in zip(samples, counterfactuals, strict=True)
        if not is_right(before.truth, after.truth)
    ]
    if not pairs:
        raise SdvlmError("the swap control needs pairs whose truths differ; every counterfactual has the same answer")
    answers = _answers(answerer, [after for _, after in pairs])
    value = float(np.mean([is_right(a, after.truth) for a, (_, after) in zip(answers, pairs, strict=True)]))
    stuck = float(np.mean([is_right(a, before.truth) for a, (before, _) in zip(answers, pairs, strict=True)]))
    why = (
        f"{value:.2f} of {len(pairs)} answers follow the swapped depth (at least {threshold:.2f}), "
        f"{stuck:.2f} stay with the old truth"
    )
    return ControlResult("T1 swap", value, threshold, value >= threshold, why)


def scaled_sample(sample: ControlSample, factor: float) -> ControlSample:
    """The sample in a world ``factor`` times as large: same picture, depth and lengths multiplied."""
    truth = sample.truth
    if truth.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
        truth = replace(truth, values=tuple(factor * number for number in truth.numbers))
    return ControlSample(with_scaled_depth(sample.frame, factor), sample.question, truth)


def scale(
    answerer: Answerer,
    samples: Sequence[ControlSample],
    factors: Sequence[float] = (0.5, 2.0),
    expected: float = 1.0,
    tolerance: float = 0.2,
) -> ControlResult:
    """T2: multiplying depth by k multiplies a length in the answer by k: slope 1 of log answer on log k.

    Args:
        samples: whose truth is one length; others are left out.
        factors: at least two.
        expected: 1 for a fusion that carries metres, 0 for min-max.
        tolerance: largest distance of the slope from it.
    """
    asked = [sample for sample in samples if sample.truth.kind is AnswerKind.LENGTH]
    if not asked or len(set(factors)) < 2:
        raise SdvlmError("the scale control needs questions about one length and two different factors")
    logs = np.array([[_log_length(a) for a in _answers(answerer, asked, _scaling(k))] for k in factors])  # [K, N]
    read = np.isfinite(logs).all(axis=0)
    x = np.log(factors) - np.mean(np.log(factors))
    value = float((x @ logs[:, read]).mean() / (x @ x)) if read.any() else math.nan
    enough = bool(read.mean() >= 0.5)
    passed = enough and abs(value - expected) <= tolerance
    why = (
        f"slope {value:.2f} of log answer on log depth scale (wanted {expected:.0f} +- {tolerance}), "
        f"over {int(read.sum())} of {len(asked)} questions answered with a length at every scale"
    )
    return ControlResult("T2 scale", value, expected, passed, why)


def _scaling(factor: float) -> Change:
    return lambda frame: with_scaled_depth(frame, factor)


def _log_length(answer: TypedAnswer | None) -> float:
    if answer is None or answer.kind is not AnswerKind.LENGTH or not answer.numbers[0] > 0:
        return math.nan
    return math.log(answer.numbers[0])


def shuffle(
    answerer: Answerer,
    samples: Sequence[ControlSample],
    rng: np.random.Generator,
    cells: int = 4,
    margin: float = 0.05,
) -> ControlResult:
    """T3: with depth at the wrong places accuracy falls to that without depth: the place of a depth is used.

    Use questions that need localisation: shuffled depth still tells the scale of a picture. A model that gains nothing
    from depth has nothing to lose and does not pass.
    """
    right, absent = share_right(answerer, samples), share_right(answerer, samples, without_depth)
    value = share_right(answerer, samples, lambda frame: with_shuffled_depth(frame, rng, cells))
    threshold = absent + margin + _noise(absent, len(samples))
    passed = value <= threshold < right
    why = f"accuracy {right:.2f} with depth, {value:.2f} shuffled (at most {threshold:.2f}), {absent:.2f} without"
    return ControlResult("T3 shuffle", value, threshold, passed, why)


def constant(
    answerer: Answerer, samples: Sequence[ControlSample], baseline: float, metres: float = 2.0, margin: float = 0.01
) -> ControlResult:
    """T4: a flat wall in place of depth gives no gain over ``baseline``, the accuracy of the model without depth."""
    value = share_right(answerer, samples, lambda frame: with_constant_depth(frame, metres))
    return _no_gain("T4 constant depth", value, baseline, margin, len(samples))


def noise(
    answerer: Answerer,
    samples: Sequence[ControlSample],
    baseline: float,
    rng: np.random.Generator,
    margin: float = 0.01,
) -> ControlResult:
    """T4b: noise in place of depth gives no gain over ``baseline``, the accuracy of the model without depth."""
    value = share_right(answerer, samples, lambda frame: with_noise_depth(frame, rng))
    return _no_gain("T4b noise depth", value, baseline, margin, len(samples))


def _no_gain(name: str, value: float, baseline: float, margin: float, count: int) -> ControlResult:
    threshold = baseline + margin + _noise(baseline, count)
    why = f"accuracy {value:.2f}, at most {threshold:.2f}: the model without depth has {baseline:.2f}"
    return ControlResult(name, value, threshold, value <= threshold, why)


def missing(
    answerer: Answerer, samples: Sequence[ControlSample], baseline: float, margin: float = 0.01
) -> ControlResult:
    """T5: where depth is absent the model is as good as one trained without, whose accuracy is ``baseline``."""
    value = share_right(answerer, samples, without_depth)
    threshold = baseline - margin - _noise(baseline, len(samples))
    why = f"accuracy {value:.2f} without depth, at least {threshold:.2f}: the model without depth has {baseline:.2f}"
    return ControlResult("T5 missing", value, threshold, value >= threshold, why)


def sign(answerer: Answerer, samples: Sequence[ControlSample], threshold: float = 0.95) -> ControlResult:
    """T7: metric depth and disparity of one scene give the same answer to "which is nearer".

    Does not apply to fusions that refuse disparity.
    """
    name, metric = "T7 sign", _answers(answerer, samples)
    try:
        turned = _answers(answerer, samples, as_disparity)
    except SdvlmError as refusal:
        return ControlResult(name, math.nan, threshold, None, f"does not apply: {refusal}")
    same = [a is not None and b is not None and is_right(a, b) for a, b in zip(metric, turned, strict=True)]
    value = float(np.mean(same))
    why = f"{value:.2f} of {len(samples)} answers are the same from metric depth and disparity (wanted {threshold:.2f})"
    return ControlResult(name, value, threshold, value >= threshold, why)
