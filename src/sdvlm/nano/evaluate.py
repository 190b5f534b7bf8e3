"""Score the nano model on held-out rooms: ``python -m sdvlm.nano.evaluate OUT`` (OUT of ``sdvlm.nano.train``).

Five rows on the same questions: with depth; the same model with depth withheld; the same model given another picture's
depth; the same recipe trained without depth; the best constant answer to each kind of question.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdvlm.data.schema import QuestionSample, QuestionType, TypedAnswer
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.constant import ConstantAnswers
from sdvlm.eval.paired import Asked, paired_difference
from sdvlm.eval.scoring import Outcome, Scoreboard, tally
from sdvlm.models.prefix import answer_questions
from sdvlm.nano.frames import room_views
from sdvlm.types import RgbdFrame

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["HELD_OUT_SEED", "Exam", "answer_exam", "held_out_exam", "read_answer"]

log = logging.getLogger("sdvlm.nano.evaluate")

HELD_OUT_SEED = 500_000
"""seed of the held-out rooms; training rooms have seeds from 1,000,000 up"""

Exam = list[tuple[RgbdFrame, list[QuestionSample]]]


def held_out_exam(total: int = 1000, per_frame: int = 10, seed: int = HELD_OUT_SEED) -> Exam:
    """Questions about fresh rooms, as many of each family, at most two pictures a room."""
    quota = {family: total // len(QuestionType) for family in QuestionType}
    exam: Exam = []
    for frame, questions in _views(seed):
        chosen: list[QuestionSample] = []
        for question in questions:
            if quota[question.type] > 0 and len(chosen) < per_frame:
                quota[question.type] -= 1
                chosen.append(question)
        if chosen:
            exam.append((frame, chosen))
        if not any(quota.values()):
            return exam
    raise AssertionError("the views never end")


def _views(seed: int) -> Iterator[tuple[RgbdFrame, list[QuestionSample]]]:
    for frame, _, questions in room_views(np.random.default_rng(seed), 10**9, 2, 40):
        yield frame, questions


def answer_exam(
    model: DepthVLM, processor: DepthProcessor, exam: Exam, change: Callable[[int, RgbdFrame], RgbdFrame]
) -> tuple[Scoreboard, list[dict[str, Any]]]:
    """Ask everything; ``change`` may take a picture's depth away. Scores and one record an answer."""
    outcomes, records = [], []
    for index, (frame, questions) in enumerate(exam):
        texts = [question.question for question in questions]
        answers = answer_questions(model, processor, change(index, frame), texts, max_new_tokens=32)
        for question, answer in zip(questions, answers, strict=True):
            read = read_answer(answer.text, question)
            outcome = Outcome.of(question.type, read, question.answer_typed)
            outcomes.append(outcome)
            records.append(
                {"picture": index, "type": question.type.value, "template": question.template}
                | {"question": question.question, "truth": question.answer, "answer": answer.text}
                | {"right": outcome.right}
            )
    return tally(outcomes), records


def read_answer(text: str, question: QuestionSample) -> TypedAnswer | None:
    """What a reply to the question says; None where it cannot be read."""
    options = question.names if question.type is QuestionType.SCALE_COMPARE else ()
    kind = question.answer_typed.kind
    return parse_answer(text, question.type, question=question.question, options=options, kind=kind)


def other_depth(exam: Exam) -> Callable[[int, RgbdFrame], RgbdFrame]:
    """Give each picture the depth values of another one of its size, if there is one."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, (frame, _) in enumerate(exam):
        by_size.setdefault(frame.size, []).append(index)
    partner = {a: b for group in by_size.values() for a, b in zip(group, group[1:] + group[:1], strict=True)}
    return lambda index, frame: replace(frame, depth=exam[partner[index]][0].depth)


def main(argv: list[str] | None = None) -> None:
    """Load both trained models, ask, write scores.json and answers.jsonl."""
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

    parser = argparse.ArgumentParser(description="Score the nano model on held-out rooms.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--questions", type=int, default=1000)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    exam = held_out_exam(args.questions)
    log.info("%d questions about %d pictures", sum(len(questions) for _, questions in exam), len(exam))
    seen = [
        question
        for (_, questions), _ in zip(_views(HELD_OUT_SEED + 1), range(1500), strict=False)
        for question in questions
    ]
    constant = ConstantAnswers(seen)
    asked = [question for _, questions in exam for question in questions]
    rows = {"constant": tally(Outcome.of(q.type, constant.answer(q), q.answer_typed) for q in asked)}
    asked_of: dict[str, list[Asked]] = {}
    arms: list[tuple[str, str, Callable[[int, RgbdFrame], RgbdFrame]]] = [
        ("with depth", "with-depth", lambda _, frame: frame),
        ("depth withheld", "with-depth", lambda _, frame: replace(frame, depth=None)),
        ("another picture's depth", "with-depth", other_depth(exam)),
        ("trained without depth", "without-depth", lambda _, frame: replace(frame, depth=None)),
    ]
    for name, folder, change in arms:
        place = args.out / folder / "checkpoint"
        if not place.exists():
            log.warning("no %s yet, row '%s' left out", place, name)
            continue
        model, processor = DepthVLM.from_pretrained(place).float(), DepthProcessor.from_pretrained(place)
        start = time.monotonic()
        rows[name], records = answer_exam(model, processor, exam, change)
        asked_of[name] = [(one["picture"], one["type"], one["right"]) for one in records]
        log.info("%s: %.3f in %.0f s", name, rows[name].macro, time.monotonic() - start)
        path = args.out / f"answers-{name.replace(' ', '-')}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    scores = {name: board.to_dict() for name, board in rows.items()}
    if {"with depth", "trained without depth"} <= asked_of.keys():
        lead = paired_difference(asked_of["with depth"], asked_of["trained without depth"])
        scores["lead over the twin"] = lead.to_dict()
        log.info("lead over the twin %.3f (%.3f to %.3f)", lead.mean, *lead.interval)
    (args.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    for name, board in rows.items():
        log.info(
            "%-24s macro %.3f  %s", name, board.macro, {f.value: round(s.rate, 2) for f, s in board.families.items()}
        )


if __name__ == "__main__":
    main()
