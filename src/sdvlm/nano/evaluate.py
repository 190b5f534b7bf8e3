"""Score trained nano models: MSMU-Rooms as it is, scaled, reworded, in other units, with poorer depth; and photographs.

Every row is the strict score of some model asked some exam. A row of a model that was not trained yet is left out.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdvlm.data.schema import QuestionSample, QuestionType, TypedAnswer
from sdvlm.depth.atomic import atomic_file
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.constant import ConstantAnswers
from sdvlm.eval.paired import Asked, paired_difference
from sdvlm.eval.scoring import Outcome, Scoreboard, tally
from sdvlm.models.prefix import answer_questions
from sdvlm.nano.exam import (
    HELD_OUT_SEED,
    Change,
    Exam,
    held_out_views,
    in_units,
    metric_only,
    other_depth,
    poorer_depth,
    reworded,
    rooms_exam,
    scaled,
    shuffled_depth,
)
from sdvlm.types import RgbdFrame, SdvlmError

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["METRIC", "Sitting", "evaluate", "fitted_constant", "read_answer", "score_table", "sit"]

log = logging.getLogger("sdvlm.nano.evaluate")

METRIC = (QuestionType.SCALE_ESTIMATION, QuestionType.ABSOLUTE_DISTANCE, QuestionType.REFER_OBJ_ESTIMATION)
"""families whose answers are lengths"""
NOISE_M = (0.1, 0.3, 0.5, 0.7)
"""standard deviations of the noise of single pixels in the curve, metres"""
HOLES = 0.2
"""share of the picture without depth in the row of holes"""


@dataclass(frozen=True)
class Sitting:
    """One exam, answered.

    Args:
        board: the strict scores.
        asked: picture, family, right or wrong of every question.
        answers: as said.
    """

    board: Scoreboard
    asked: list[Asked]
    answers: list[str]


def sit(model: DepthVLM, processor: DepthProcessor, exam: Exam, change: Change | None = None) -> Sitting:
    """Ask everything, through the processor and the model as anybody would; ``change`` says how pictures are shown."""
    outcomes: list[Outcome] = []
    asked: list[Asked] = []
    said: list[str] = []
    for index, (frame, questions) in enumerate(exam):
        shown = frame if change is None else change(index, frame)
        texts = [question.question for question in questions]
        answers = answer_questions(model, processor, shown, texts, max_new_tokens=40)
        for question, answer in zip(questions, answers, strict=True):
            outcome = Outcome.of(question.type, read_answer(answer.text, question), question.answer_typed)
            outcomes.append(outcome)
            asked.append((index, question.type.value, outcome.right))
            said.append(answer.text)
    return Sitting(tally(outcomes), asked, said)


def read_answer(text: str, question: QuestionSample) -> TypedAnswer | None:
    """What a reply to the question says; None where it cannot be read."""
    options = question.names if question.type is QuestionType.SCALE_COMPARE else ()
    kind = question.answer_typed.kind
    return parse_answer(text, question.type, question=question.question, options=options, kind=kind)


def fitted_constant(pictures: int = 1500) -> ConstantAnswers:
    """The best answers that do not look, fitted on fresh rooms that nothing else uses."""
    views = held_out_views(HELD_OUT_SEED + 1)
    return ConstantAnswers(
        question for (_, questions), _ in zip(views, range(pictures), strict=False) for question in questions
    )


def evaluate(out: Path, photographs: Path | None = None, limit: int | None = None) -> dict[str, Any]:
    """Ask the models of a training folder (``nano.train``) everything and write ``scores.json`` there.

    Args:
        out: with a checkpoint in a folder of each arm.
        photographs: built data of real pictures (``sdvlm build``), asked besides.
        limit: ask only about so many pictures of MSMU-Rooms.

    Returns:
        ``rows``: exam -> row -> scores; ``leads``: of "with depth" over the other rows, paired; ``units``.

    Raises:
        SdvlmError: no arm is trained.
    """
    arms = {name: out / name / "checkpoint" for name in _ROW}
    if not any(place.exists() for place in arms.values()):
        raise SdvlmError(f"{out} holds no trained arm ({', '.join(_ROW)}); run 'sdvlm nano train {out}' first")
    rooms, constant, found = rooms_exam()[:limit], fitted_constant(), _Found()
    for name, place in arms.items():
        if place.exists():
            _sit_all(found, name, place, rooms, photographs)
    found.add("rooms", "constant", _constant(constant, rooms))
    if photographs is not None:
        found.add("photographs", "constant", _constant(constant, rooms_exam(photographs)))
    result = found.to_dict() | {"questions": sum(len(asked) for _, asked in rooms), "pictures": len(rooms)}
    with atomic_file(out / "scores.json") as stream:
        stream.write((json.dumps(result, indent=1) + "\n").encode())
    return result


class _Found:
    """Sittings by exam and row."""

    def __init__(self) -> None:
        self.sittings: dict[str, dict[str, Sitting]] = {}
        self.more: dict[str, Any] = {}

    def add(self, exam: str, row: str, sitting: Sitting) -> None:
        self.sittings.setdefault(exam, {})[row] = sitting
        log.info("%s, %s: %.3f", exam, row, sitting.board.macro)

    def to_dict(self) -> dict[str, Any]:
        rows = {
            exam: {row: sitting.board.to_dict() for row, sitting in of_exam.items()}
            for exam, of_exam in self.sittings.items()
        }
        leads: dict[str, dict[str, Any]] = {}
        for exam, of_exam in self.sittings.items():
            for row in set(of_exam) - {"with depth"} if "with depth" in of_exam else ():
                if [one[:2] for one in of_exam[row].asked] == [one[:2] for one in of_exam["with depth"].asked]:
                    lead = paired_difference(of_exam["with depth"].asked, of_exam[row].asked)
                    leads.setdefault(exam, {})[row] = lead.to_dict()
        return {"rows": rows, "leads": leads, **self.more}


_ROW = {"with-depth": "with depth", "without-depth": "trained without depth", "min-max": "min-max depth code"}


def _sit_all(found: _Found, name: str, place: Path, rooms: Exam, photographs: Path | None) -> None:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

    model, processor = DepthVLM.from_pretrained(place).float(), DepthProcessor.from_pretrained(place)
    start, row = time.monotonic(), _ROW[name]
    blind = _withheld if name == "without-depth" else None
    found.add("rooms", row, sit(model, processor, rooms, blind))
    found.add("scaled rooms", row, sit(model, processor, scaled(rooms), blind))
    if photographs is not None:
        found.add("photographs", row, sit(model, processor, rooms_exam(photographs), blind))
    if name == "with-depth":
        changes = {
            "depth withheld": _withheld,
            "another picture's depth": other_depth(rooms),
            "shuffled depth": shuffled_depth,
            f"{HOLES:.0%} holes": poorer_depth(0.0, HOLES),
            **{f"noise {noise} m": poorer_depth(noise, 0.0) for noise in NOISE_M},
        }
        for row_of, change in changes.items():
            found.add("rooms", row_of, sit(model, processor, rooms, change))
        found.add("scaled rooms", "depth withheld", sit(model, processor, scaled(rooms), _withheld))
        if photographs is not None:
            found.add("photographs", "depth withheld", sit(model, processor, rooms_exam(photographs), _withheld))
        for way, exam in enumerate(reworded(rooms)):
            found.add("rooms", f"wording {way + 1}", sit(model, processor, exam))
        found.more["units"] = _units(model, processor, rooms)
    log.info("%s: %.0f s", name, time.monotonic() - start)


def _units(model: DepthVLM, processor: DepthProcessor, rooms: Exam) -> dict[str, float]:
    """Lengths asked for in other units: share right, share of the same questions right in metres, and share of the
    answers that end in the unit asked for."""
    plain = metric_only(rooms)
    asked = in_units(plain)
    sitting = sit(model, processor, asked)
    units = [question.said_unit for _, questions in asked for question in questions]
    named = [text.split()[-1:] == [unit] for text, unit in zip(sitting.answers, units, strict=True)]
    in_metres = sit(model, processor, plain).board.macro
    return {"right": sitting.board.macro, "in_metres": in_metres, "in_the_unit": sum(named) / len(named)}


def _withheld(index: int, frame: RgbdFrame) -> RgbdFrame:
    return replace(frame, depth=None)


def _constant(constant: ConstantAnswers, exam: Exam) -> Sitting:
    asked = [(index, question) for index, (_, questions) in enumerate(exam) for question in questions]
    outcomes = [Outcome.of(q.type, constant.answer(q), q.answer_typed) for _, q in asked]
    records: Iterable[Asked] = ((i, q.type.value, one.right) for (i, q), one in zip(asked, outcomes, strict=True))
    return Sitting(tally(outcomes), list(records), [])


def score_table(scores: dict[str, Any]) -> str:
    """The strict scores in percent as text: a table an exam, families down, rows of models across; then the leads."""
    lines = []
    for exam, rows in scores["rows"].items():
        lines += [f"{exam}: strict, percent right", ""]
        families = list(next(iter(rows.values()))["families"])
        for row, board in rows.items():
            cells = [f"{100 * board['families'][family]['rate']:5.0f}" for family in families]
            lines.append(f"  {row:24}{''.join(cells)}  mean {100 * board['macro']['rate']:5.1f}")
        lines += ["  " + " " * 24 + " ".join(f"{family[:4]:>4}" for family in families), ""]
        for row, lead in scores["leads"].get(exam, {}).items():
            low, high = (100 * one for one in lead["macro"]["interval"])
            lines.append(f"  with depth less {row}: {100 * lead['macro']['rate']:+.1f} ({low:+.1f} to {high:+.1f})")
        lines.append("")
    if "units" in scores:
        lines.append("asked in other units: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in scores["units"].items()))
    return "\n".join(lines)
