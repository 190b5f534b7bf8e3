"""One exam put to one model, scored by the strict rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdvlm.data.schema import QuestionSample, QuestionType, TypedAnswer
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.constant import ConstantAnswers
from sdvlm.eval.paired import Asked
from sdvlm.eval.scoring import Outcome, Scoreboard, tally
from sdvlm.models.prefix import answer_questions
from sdvlm.nano.exam import Change, Exam

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["Sitting", "read_answer", "sit", "sit_constant"]


@dataclass(frozen=True)
class Sitting:
    """One exam, answered.

    Args:
        pictures: index of the picture of every question.
        outcomes: of every question.
        answers: as said.
    """

    pictures: Sequence[int]
    outcomes: Sequence[Outcome]
    answers: Sequence[str]

    @property
    def board(self) -> Scoreboard:
        """The strict scores."""
        return tally(self.outcomes)

    @property
    def asked(self) -> list[Asked]:
        """Picture, family, right or wrong of every question, for paired comparisons."""
        return [(i, one.type.value, one.right) for i, one in zip(self.pictures, self.outcomes, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        outcomes = [[one.type.value, one.right, one.parsed] for one in self.outcomes]
        return {"pictures": list(self.pictures), "outcomes": outcomes, "answers": list(self.answers)}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Sitting:
        """What :meth:`to_dict` gave."""
        outcomes = [Outcome(QuestionType(family), right, parsed) for family, right, parsed in kept["outcomes"]]
        return cls(kept["pictures"], outcomes, kept["answers"])


def sit(model: DepthVLM, processor: DepthProcessor, exam: Exam, change: Change | None = None) -> Sitting:
    """Ask everything, through the processor and the model as anybody would; ``change`` says how pictures are shown."""
    pictures: list[int] = []
    outcomes: list[Outcome] = []
    said: list[str] = []
    for index, (frame, questions) in enumerate(exam):
        shown = frame if change is None else change(index, frame)
        texts = [question.question for question in questions]
        answers = answer_questions(model, processor, shown, texts, max_new_tokens=40)
        for question, answer in zip(questions, answers, strict=True):
            pictures.append(index)
            outcomes.append(Outcome.of(question.type, read_answer(answer.text, question), question.answer_typed))
            said.append(answer.text)
    return Sitting(pictures, outcomes, said)


def sit_constant(constant: ConstantAnswers, exam: Exam) -> Sitting:
    """The same of answers that do not look."""
    asked = [(index, question) for index, (_, questions) in enumerate(exam) for question in questions]
    outcomes = [Outcome.of(q.type, constant.answer(q), q.answer_typed) for _, q in asked]
    return Sitting([index for index, _ in asked], outcomes, ["" for _ in asked])


def read_answer(text: str, question: QuestionSample) -> TypedAnswer | None:
    """What a reply to the question says; None where it cannot be read."""
    options = question.names if question.type is QuestionType.SCALE_COMPARE else ()
    kind = question.answer_typed.kind
    return parse_answer(text, question.type, question=question.question, options=options, kind=kind)
