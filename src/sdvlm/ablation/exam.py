"""The test: questions about held-out rooms, asked three ways.

*rooms*: as they are. *scaled*: the same pictures, all depth and all true lengths multiplied by a factor that the
picture does not show, far enough from 1 that an answer which ignores it is wrong; only depth tells it. *withheld*: as
they are, with depth taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.rooms import Rooms, views
from sdvlm.ablation.sources import DepthSource
from sdvlm.data.scaled_question import scaled_question
from sdvlm.data.schema import QuestionSample, QuestionType
from sdvlm.eval.paired import Asked
from sdvlm.eval.scoring import is_right
from sdvlm.models.prefix import answer_questions
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.sitting import read_answer
from sdvlm.types import RgbdFrame

__all__ = ["ARMS", "METRIC_FAMILIES", "Sitting", "asked_questions", "exam_factors", "make_exam", "sit"]

ARMS = ("rooms", "scaled", "withheld")
METRIC_FAMILIES = (QuestionType.SCALE_ESTIMATION.value, QuestionType.ABSOLUTE_DISTANCE.value)
"""families whose answers are lengths and whose questions give no other length away"""
TEST_SEED = 700_000
"""seed of the held-out rooms; training rooms have 2,000,000 and up, those of the shipped weights 1,000,000 and up"""


@dataclass(frozen=True)
class Sitting:
    """Answers to all questions one way, in the exam's order.

    Args:
        texts: as said.
        right: whether each passed the strict rule.
    """

    texts: tuple[str, ...]
    right: tuple[bool, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; right as a string of 0 and 1."""
        return {"right": "".join(str(int(one)) for one in self.right), "answers": list(self.texts)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Sitting:
        """Inverse of :meth:`to_dict`."""
        return cls(tuple(values["answers"]), tuple(one == "1" for one in values["right"]))

    def asked(self, exam: Rooms) -> list[Asked]:
        """Picture, family and whether it was right, of each question."""
        pairs = [(index, one.type.value) for index, asked in enumerate(exam.questions) for one in asked]
        return [(index, family, right) for (index, family), right in zip(pairs, self.right, strict=True)]


def make_exam(config: AblationConfig, side: int) -> Rooms:
    """Squared pictures of held-out rooms and questions about them, as many of each family, two pictures a room."""
    quota = {family: max(1, config.test_questions // len(QuestionType)) for family in QuestionType}
    kept: list[tuple[RgbdFrame, list[QuestionSample]]] = []
    for frame, questions in views(TEST_SEED + config.seed, 10**9, 2, config.questions_per_frame, side):
        factor = exam_factors(config, len(kept) + 1)[-1]
        chosen: list[QuestionSample] = []
        for question in questions:
            fits = all(scaled_question(question, by) is not None for by in (1.0, float(factor)))
            if fits and quota[question.type] > 0 and len(chosen) < config.questions_per_test_frame:
                quota[question.type] -= 1
                chosen.append(question)
        if chosen:
            kept.append((frame, chosen))
        if not any(quota.values()):
            return Rooms.of(kept)
    raise AssertionError("the views never end")


def exam_factors(config: AblationConfig, count: int) -> NDArray[np.float64]:
    """(count,) what each picture's depth is multiplied by: log-uniform, half up, half down."""
    rng = np.random.default_rng([config.seed, 31])
    low, high = np.log(config.smallest_test_scale), np.log(config.largest_scale)
    drawn = rng.uniform(-1, 1, count)
    return np.asarray(np.exp(np.sign(drawn) * (low + np.abs(drawn) * (high - low))))


def asked_questions(config: AblationConfig, exam: Rooms, arm: str) -> list[list[tuple[QuestionSample, float]]]:
    """Of each picture the questions as they are asked, and the factor of its depth."""
    factors = exam_factors(config, len(exam)) if arm == "scaled" else np.ones(len(exam))
    out = []
    for asked, factor in zip(exam.questions, factors.tolist(), strict=True):
        scaled = [scaled_question(one, factor) for one in asked]
        out.append([(one, factor) for one in scaled if one is not None])
    return out


def sit(
    model: DepthVLM,
    processor: DepthProcessor,
    exam: Rooms,
    source: DepthSource | None,
    arm: str,
    config: AblationConfig,
) -> Sitting:
    """Ask everything, through the processor and the model as anybody would.

    Args:
        model, processor: trained.
        exam: from :func:`make_exam`.
        source: of depth of the exam's pictures; None: the model takes none.
        arm: one of ``ARMS``.
        config: decides the factors.
    """
    texts: list[str] = []
    right: list[bool] = []
    for index, asked in enumerate(asked_questions(config, exam, arm)):
        shown = source is not None and arm != "withheld"
        depth = source.map(index, asked[0][1]) if shown and source is not None else None
        frame = RgbdFrame(exam.pictures[index], depth, exam.camera(index), name=f"picture {index}")
        answers = answer_questions(model, processor, frame, [one.question for one, _ in asked], max_new_tokens=32)
        for (question, _), answer in zip(asked, answers, strict=True):
            texts.append(answer.text)
            right.append(is_right(read_answer(answer.text, question), question.answer_typed))
    return Sitting(tuple(texts), tuple(right))
