"""The demonstration from seed to answers, without printing or drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdvlm.answering import ask
from sdvlm.data.schema import QuestionSample, QuestionType
from sdvlm.demo.room import DemoView
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.scoring import is_right

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["Asked", "Judged", "ask_both_ways", "count_right", "judge"]


@dataclass(frozen=True)
class Judged:
    """An answer and whether it is right."""

    text: str
    right: bool


@dataclass(frozen=True)
class Asked:
    """A question with its truth, and what the model said with and without depth."""

    sample: QuestionSample
    with_depth: Judged
    without_depth: Judged


def ask_both_ways(model: DepthVLM, processor: DepthProcessor, view: DemoView) -> list[Asked]:
    """All questions of a view, with its depth map and with the picture alone; camera and words stay the same."""
    samples = view.questions
    texts = [sample.question for sample in samples]
    answers: list[Sequence[Judged]] = []
    for depth in (view.frame.depth, None):
        replies = ask(model, processor, view.frame, texts, depth=depth)
        answers.append([judge(sample, reply.answer) for sample, reply in zip(samples, replies, strict=True)])
    return [Asked(*row) for row in zip(samples, *answers, strict=True)]


def count_right(asked: Sequence[Asked]) -> tuple[int, int]:
    """How many answers are right with depth, and how many without."""
    return sum(one.with_depth.right for one in asked), sum(one.without_depth.right for one in asked)


def judge(sample: QuestionSample, text: str) -> Judged:
    """Right or wrong by the strict rule of the question's family; what cannot be read is wrong."""
    options = sample.names if sample.type is QuestionType.SCALE_COMPARE else ()
    read = parse_answer(text, sample.type, question=sample.question, options=options, kind=sample.answer_typed.kind)
    return Judged(text, is_right(read, sample.answer_typed))
