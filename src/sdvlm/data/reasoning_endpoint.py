"""Chains of thought from models: one writes, our parser reads its answer, another grades; only agreed ones are kept.

The parser is handed in (``sdvlm.eval.answers.parse_answer`` is the one to use): this package does not know evaluation.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from sdvlm.data.names import Names, name_objects
from sdvlm.data.observe import Observation
from sdvlm.data.reasoning_prompts import (
    PROMPT_VERSION,
    grader_prompt,
    read_grade,
    scene_facts,
    split_reply,
    writer_prompt,
)
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.select import select
from sdvlm.data.units import unit_of
from sdvlm.endpoint.config import EndpointConfig
from sdvlm.endpoint.content import picture_part, text_part
from sdvlm.endpoint.remembering import Question, RememberingEndpoint, default_reply_log
from sdvlm.endpoint.reply_log import ReplyLog
from sdvlm.types import RgbdFrame, SdvlmError

__all__ = ["AnswerReader", "Reasoned", "ReasoningConfig", "ReasoningWriter", "count_reasoned"]


class AnswerReader(Protocol):
    """Reads a typed answer out of free text, None where it cannot: ``sdvlm.eval.answers.parse_answer``."""

    def __call__(
        self,
        text: str,
        question_type: QuestionType | str,
        *,
        question: str | None = None,
        options: Sequence[str] = (),
        kind: AnswerKind | None = None,
    ) -> TypedAnswer | None: ...


@dataclass(frozen=True)
class ReasoningConfig:
    """How chains are asked for and accepted."""

    tolerance: float = 0.02
    """relative error of a length that still agrees, beside the rounding of its unit"""
    point_tolerance: float = 0.02
    """error of an image coordinate that still agrees"""
    references: int = 3
    """reference objects a writer is told of, at most; drawn"""
    max_words: int = 150
    """words of a chain, as asked for; twice as many are rejected"""

    def __post_init__(self) -> None:
        if min(self.tolerance, self.point_tolerance) < 0 or self.references < 0 or self.max_words < 10:
            raise SdvlmError("reasoning needs tolerances and references of at least 0 and at least 10 words")


@dataclass(frozen=True)
class Reasoned:
    """What came of a question.

    Args:
        reasoning: the chain, None where none was kept.
        outcome: "kept", or why not, in the same few words for the same reason.
    """

    reasoning: str | None
    outcome: str


def count_reasoned(results: Sequence[Reasoned]) -> dict[str, int]:
    """How many were kept, and how many dropped for each reason."""
    return dict(sorted(Counter(result.outcome for result in results).items()))


class ReasoningWriter:
    """Writes and grades; remembers every reply, so an interrupted build goes on where it stopped. Picklable.

    Args:
        writer: a vision model.
        grader: another model; it sees text only.
        read: reads the answer a chain leads to.
        log: file of replies; default ``reasoning/replies.jsonl`` in the cache folder (``$SDVLM_CACHE``).
        config: how to ask and accept.
    """

    def __init__(
        self,
        writer: EndpointConfig,
        grader: EndpointConfig,
        read: AnswerReader,
        log: Path | None = None,
        config: ReasoningConfig | None = None,
    ) -> None:
        replies = ReplyLog(log or default_reply_log("reasoning"))
        self.writer, self.grader = RememberingEndpoint(writer, replies), RememberingEndpoint(grader, replies)
        self.read, self.config = read, config or ReasoningConfig()
        self.outcomes: Counter[str] = Counter()
        """how many questions were kept, or dropped for each reason, so far"""

    def explain(
        self, frame: RgbdFrame, sample: QuestionSample, observation: Observation, rng: np.random.Generator
    ) -> str | None:
        """The chain of one question, its references by their geometric names; None where none was kept."""
        (result,) = self.reason(frame, observation, [sample], name_objects(select(observation)), rng)
        return result.reasoning

    def reason(
        self,
        frame: RgbdFrame,
        observation: Observation,
        samples: Sequence[QuestionSample],
        names: Mapping[int, Names],
        rng: np.random.Generator,
    ) -> list[Reasoned]:
        """A chain for each question about a picture, or why there is none.

        Args:
            frame: the picture.
            observation: what it shows.
            samples: questions about it.
            names: what its objects are called, by instance id (``name_objects``).
            rng: draws the reference objects a writer is told of.

        Raises:
            SdvlmError: an endpoint left questions unanswered; what was answered is kept.
        """
        digest = hashlib.sha256(f"{frame.size}".encode() + frame.image.tobytes()).hexdigest()
        picture = cache(lambda: picture_part(frame.image))
        asked = []
        for sample in samples:
            facts = scene_facts(sample, observation, names, self._references(sample, names, rng))
            prompt = writer_prompt(sample, facts, self.config.max_words)
            asked.append(
                Question(
                    {"task": "write", "version": PROMPT_VERSION, "picture": digest, "prompt": prompt},
                    lambda prompt=prompt: [text_part(prompt), picture()],  # type: ignore[misc]
                    {"task": "write", "frame": frame.name, "question": sample.question},
                )
            )
        written = [
            self._accept(sample, reply) for sample, reply in zip(samples, self.writer.replies(asked), strict=True)
        ]
        results = self._grade(frame, samples, written)
        self.outcomes.update(result.outcome for result in results)
        return results

    def _grade(self, frame: RgbdFrame, samples: Sequence[QuestionSample], written: list[Reasoned]) -> list[Reasoned]:
        """Keep the chains a grader agrees with."""
        to_grade, questions = [], []
        for index, (sample, one) in enumerate(zip(samples, written, strict=True)):
            if one.reasoning is not None:
                prompt = grader_prompt(sample, one.reasoning)
                to_grade.append(index)
                questions.append(
                    Question(
                        {"task": "grade", "version": PROMPT_VERSION, "prompt": prompt},
                        lambda prompt=prompt: [text_part(prompt)],  # type: ignore[misc]
                        {"task": "grade", "frame": frame.name, "question": sample.question},
                    )
                )
        graded = list(written)
        for index, reply in zip(to_grade, self.grader.replies(questions), strict=True):
            verdict = None if reply is None else read_grade(reply)
            if verdict is not True:
                graded[index] = Reasoned(None, "grader disagrees" if verdict is False else "no grade")
        return graded

    def _accept(self, sample: QuestionSample, reply: str | None) -> Reasoned:
        """A writer's reply, if its form is right and its answer is the true one."""
        if reply is None:
            return Reasoned(None, "writer refuses")
        parts = split_reply(reply)
        if parts is None:
            return Reasoned(None, "no answer line")
        reasoning, said = parts
        if len(reasoning.split()) > 2 * self.config.max_words or not reasoning.isprintable():
            return Reasoned(None, "too long or not text")
        options = sample.names if sample.answer_typed.kind is AnswerKind.NAME else ()
        answer = self.read(said, sample.type, question=sample.question, options=options, kind=sample.answer_typed.kind)
        if answer is None:
            return Reasoned(None, "answer not read")
        return Reasoned(reasoning, "kept") if self._agrees(answer, sample) else Reasoned(None, "another answer")

    def _agrees(self, said: TypedAnswer, sample: QuestionSample) -> bool:
        truth, config = sample.answer_typed, self.config
        if said.kind is not truth.kind or len(said.values) != len(truth.values):
            return False
        if truth.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
            rounding = unit_of(sample.said_unit).rounding_m * 2
            pairs = zip(said.numbers, truth.numbers, strict=True)
            return all(abs(a - b) <= max(rounding, config.tolerance * b) + 1e-9 for a, b in pairs)
        if truth.kind is AnswerKind.POINT:
            pairs = zip(said.numbers, truth.numbers, strict=True)
            return all(abs(a - b) <= config.point_tolerance + 1e-9 for a, b in pairs)
        if truth.kind is AnswerKind.COUNT:
            return said.numbers == truth.numbers
        return [str(value).lower() for value in said.values] == [str(value).lower() for value in truth.values]

    def _references(
        self, sample: QuestionSample, names: Mapping[int, Names], rng: np.random.Generator
    ) -> tuple[int, ...]:
        """Objects that are not asked about, drawn."""
        others = [one for one, its in sorted(names.items()) if one not in sample.objects and (its.plain or its.placed)]
        return tuple(others[index] for index in rng.permutation(len(others))[: self.config.references])
