"""The controls that ask, on a model that answers in words, about rooms that nobody was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdvlm.answering import ask, load_model
from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.eval import controls
from sdvlm.eval.controls import ControlResult, ControlSample, scaled_sample, share_right
from sdvlm.eval.perturb import without_depth
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.exam import held_out_exam
from sdvlm.types import RgbdFrame

__all__ = ["ModelAnswerer", "ask_model", "control_model"]

FACTOR = 1.5
"""T1 asks about the same picture of a world this many times as large"""


@dataclass(frozen=True)
class ModelAnswerer:
    """A model and its processor as an ``Answerer``."""

    model: DepthVLM
    processor: DepthProcessor

    def __call__(self, frame: RgbdFrame, questions: Sequence[str]) -> list[TypedAnswer | None]:
        """The values in the model's replies."""
        return [reply.typed for reply in ask(self.model, self.processor, frame, questions, depth=frame.depth)]


def ask_model(model: str, questions: int) -> dict[str, Any]:
    """Run the controls on a model by name, about held-out procedural rooms.

    Args:
        model: ``nano``, a folder or a hub id.
        questions: of all eight families together.
    """
    exam = held_out_exam(questions)
    samples = [ControlSample(frame, one.question, one.answer_typed) for frame, asked in exam for one in asked]
    answerer = ModelAnswerer(*load_model(model))
    results = control_model(answerer, samples, np.random.default_rng(0))
    return {
        "model": model,
        "questions": len(samples),
        "right_with_depth": round(share_right(answerer, samples), 3),
        "right_without_depth": round(share_right(answerer, samples, without_depth), 3),
        "controls": [one.to_dict() for one in results],
        "failed": [one.name for one in results if one.passed is False],
    }


def control_model(
    answerer: controls.Answerer, samples: Sequence[ControlSample], rng: np.random.Generator
) -> list[ControlResult]:
    """T1, T2, T3, T4, T4b on questions about lengths, T7 on yes-no questions.

    Scaling a world about the camera leaves its picture as it is and scales every length, so the counterfactual of T1
    has a known truth. T5 needs a model trained without depth and is left to whoever has one.
    """
    lengths = [s for s in samples if s.truth.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS)]
    yes_no = [s for s in samples if s.truth.kind is AnswerKind.YES_NO]
    without = share_right(answerer, lengths, without_depth)
    right = share_right(answerer, lengths)
    return [
        controls.swap(answerer, lengths, [scaled_sample(s, FACTOR) for s in lengths], threshold=0.8 * right),
        controls.scale(answerer, lengths),
        controls.shuffle(answerer, lengths, rng),
        controls.constant(answerer, lengths, without),
        controls.noise(answerer, lengths, without, rng),
        controls.sign(answerer, yes_no),
    ]
