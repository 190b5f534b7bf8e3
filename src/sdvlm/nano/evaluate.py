"""Score trained nano models: MSMU-Rooms as it is, scaled, reworded, in other units, with poorer depth; and photographs.

Every row is the strict score of some model asked some exam. A row of a model that was not trained yet is left out. A
finished row is kept under ``OUT/sittings``: a run that was stopped goes on, over several processes if wanted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from sdvlm.data.schema import QuestionType
from sdvlm.depth.atomic import atomic_file
from sdvlm.eval.constant import ConstantAnswers
from sdvlm.eval.paired import paired_difference
from sdvlm.eval.perturb import without_depth
from sdvlm.machine import hardware, now, versions
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
from sdvlm.nano.recipe import ON_THE_WAY
from sdvlm.nano.sitting import Sitting, sit, sit_constant
from sdvlm.nano.topics import gaps, topic_rates
from sdvlm.types import SdvlmError

__all__ = ["METRIC", "evaluate", "fitted_constant", "score_table"]

log = logging.getLogger("sdvlm.nano.evaluate")

METRIC = (QuestionType.SCALE_ESTIMATION, QuestionType.ABSOLUTE_DISTANCE, QuestionType.REFER_OBJ_ESTIMATION)
"""families whose answers are lengths"""
NOISE_M = (0.1, 0.3, 0.5, 0.7)
"""standard deviations of the noise of single pixels in the curve, metres"""
HOLES = 0.2
"""share of the picture without depth in the row of holes"""
ROOMS, SCALED, PHOTOGRAPHS = "rooms", "scaled rooms", "photographs"
METRES, UNITS = "lengths in metres", "lengths in other units"
_OTHER = "another picture's depth"
_CHANGES: dict[str, Change] = {
    "shuffled depth": shuffled_depth,
    f"{HOLES:.0%} holes": poorer_depth(0.0, HOLES),
    **{f"noise {noise} m": poorer_depth(noise, 0.0) for noise in NOISE_M},
}
"""rows of MSMU-Rooms whose depth is changed, by name"""
_ROW = {"with-depth": "with depth", "without-depth": "trained without depth", "min-max": "min-max depth code"}


@dataclass(frozen=True)
class _Row:
    """An arm that sits an exam in some way: a row of the table."""

    arm: str
    exam: str
    name: str
    step: int = 0
    """of a checkpoint kept on the way; 0: the finished one"""

    def checkpoint(self, out: Path) -> Path:
        """The folder of who sits it, under that of the run."""
        return out / self.arm / (f"{ON_THE_WAY}/{self.step:05d}" if self.step else "checkpoint")


def evaluate(out: Path, photographs: Path | None = None, limit: int | None = None, workers: int = 1) -> dict[str, Any]:
    """Ask the models of a training folder (``nano.train``) everything and write ``scores.json`` there.

    Args:
        out: with a checkpoint in a folder of each arm.
        photographs: built data of real pictures (``sdvlm build``), asked besides.
        limit: ask only about so many pictures of MSMU-Rooms.
        workers: processes that ask.

    Returns:
        ``rows``: exam -> row -> scores; ``leads``: of "with depth" over the other rows, paired; ``units``;
        ``wordings``: by topic;
        ``on_the_way``: the curve over compute, of the checkpoints kept by ``sdvlm nano train --keep-every``.

    Raises:
        SdvlmError: no arm is trained.
    """
    arms = [name for name in _ROW if (out / name / "checkpoint").exists()]
    if not arms:
        raise SdvlmError(f"{out} holds no trained arm ({', '.join(_ROW)}); run 'sdvlm nano train {out}' first")
    rooms, rows = _exam(ROOMS, None, limit), list(_rows(arms, photographs is not None))
    rows += _rows_on_the_way(out)
    sat: dict[str, dict[str, Sitting]] = {}
    way: dict[int, dict[str, float]] = {}
    ask = partial(_sit_or_read, out, photographs, limit, workers > 1)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for row, kept in zip(rows, (pool.map if workers > 1 else map)(ask, rows), strict=True):
            sitting, at = Sitting.from_dict(kept), f" at step {row.step}" if row.step else ""
            log.info("%s, %s%s: %.3f", row.exam, row.name, at, sitting.board.macro)
            if row.step:
                way.setdefault(row.step, {})[row.exam if row.exam == UNITS else row.name] = sitting.board.macro
            else:
                sat.setdefault(row.exam, {})[row.name] = sitting
    for name in [ROOMS, *[PHOTOGRAPHS] * (photographs is not None)]:
        exam = _exam(name, photographs, limit)
        path = out / "sittings" / f"constant-{name}-{_digest(exam).hexdigest()}.json"
        sat[name]["constant"] = Sitting.from_dict(_kept(path, partial(_sit_constant, exam)))
    units = _units(sat.pop(METRES)["with depth"], sat.pop(UNITS)["with depth"], limit) if METRES in sat else {}
    result = {
        "command": "sdvlm nano score OUT",
        "date": now(),
        "hardware": hardware(),
        "versions": versions(),
        "rows": {exam: {row: one.board.to_dict() for row, one in of.items()} for exam, of in sat.items()},
        "leads": {exam: _leads(of) for exam, of in sat.items()},
        **units,
        **_wordings(sat[ROOMS], rooms),
        "on_the_way": [{"step": step, **shares} for step, shares in sorted(way.items())],
        "questions": sum(len(asked) for _, asked in rooms),
        "pictures": len(rooms),
    }
    with atomic_file(out / "scores.json") as stream:
        stream.write((json.dumps(result, indent=1) + "\n").encode())
    return result


@cache
def fitted_constant(pictures: int = 1500) -> ConstantAnswers:
    """The best answers that do not look, fitted on fresh rooms that nothing else uses."""
    views = held_out_views(HELD_OUT_SEED + 1)
    return ConstantAnswers(
        question for (_, questions), _ in zip(views, range(pictures), strict=False) for question in questions
    )


def _rows(arms: list[str], photographs: bool) -> Iterator[_Row]:
    """What is asked, those of most interest first."""
    exams = [ROOMS, SCALED, *[PHOTOGRAPHS] * photographs]
    for exam in exams:
        for arm in arms:
            yield _Row(arm, exam, _ROW[arm])
        if "with-depth" in arms:
            yield _Row("with-depth", exam, "depth withheld")
    if "with-depth" in arms:
        for way in range(5):
            yield _Row("with-depth", ROOMS, f"wording {way + 1}")
        yield _Row("with-depth", METRES, "with depth")
        yield _Row("with-depth", UNITS, "with depth")
        for name in (_OTHER, *_CHANGES):
            yield _Row("with-depth", ROOMS, name)


def _rows_on_the_way(out: Path) -> Iterator[_Row]:
    """The curve: as it is, in the first of the unseen wordings, in other units."""
    for kept in sorted((out / "with-depth" / ON_THE_WAY).glob("*/config.json")):
        for exam, name in ((ROOMS, "with depth"), (ROOMS, "wording 1"), (UNITS, "with depth")):
            yield _Row("with-depth", exam, name, int(kept.parent.name))


@cache
def _exam(name: str, photographs: Path | None, limit: int | None) -> Exam:
    if name == PHOTOGRAPHS:
        return rooms_exam(photographs)
    rooms = rooms_exam()[:limit]
    if name == ROOMS:
        return rooms
    if name == SCALED:
        return scaled(rooms)
    if name.startswith("wording"):
        return reworded(rooms)[int(name.split()[1]) - 1]
    return in_units(metric_only(rooms)) if name == UNITS else metric_only(rooms)


def _change(row: _Row, exam: Exam) -> Change | None:
    """How the row's pictures are shown."""
    if row.arm == "without-depth" or row.name == "depth withheld":
        return lambda _, frame: without_depth(frame)
    return other_depth(exam) if row.name == _OTHER else _CHANGES.get(row.name)


@cache
def _model(place: Path) -> tuple[Any, Any]:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

    return DepthVLM.from_pretrained(place).float(), DepthProcessor.from_pretrained(place)


def _sit_or_read(out: Path, photographs: Path | None, limit: int | None, one_thread: bool, row: _Row) -> dict[str, Any]:
    """The row's sitting as plain values, kept under ``out/sittings`` by what it depends on."""
    place = row.checkpoint(out)
    exam = _exam(row.name if row.name.startswith("wording") else row.exam, photographs, limit)
    digest = _digest(exam)
    digest.update((place / "model.safetensors").read_bytes())
    name = "-".join((row.arm, row.exam, row.name, digest.hexdigest())).replace(" ", "_")

    def ask() -> Sitting:
        import torch

        if one_thread:
            torch.set_num_threads(1)
        return sit(*_model(place), exam, _change(row, exam))

    return _kept(out / "sittings" / f"{name}.json", ask)


def _digest(exam: Exam) -> Any:
    """Of everything that an exam asks, to be added to."""
    digest = hashlib.blake2b(digest_size=6)
    for frame, questions in exam:
        digest.update(repr((frame.name, [(one.question, one.answer_typed) for one in questions])).encode())
    return digest


def _kept(path: Path, make: Callable[[], Sitting]) -> dict[str, Any]:
    """The sitting of a file as plain values, made where it is not there."""
    if not path.exists():
        sitting = make()
        with atomic_file(path) as stream:
            stream.write(json.dumps(sitting.to_dict()).encode())
    return dict(json.loads(path.read_text()))


def _sit_constant(exam: Exam) -> Sitting:
    return sit_constant(fitted_constant(), exam)


def _leads(rows: dict[str, Sitting]) -> dict[str, Any]:
    """Of "with depth" over the other rows that were asked the same."""
    ours = rows["with depth"].asked if "with depth" in rows else []
    theirs = {name: one.asked for name, one in rows.items() if name != "with depth"}
    same = {name: asked for name, asked in theirs.items() if [q[:2] for q in asked] == [q[:2] for q in ours]}
    return {name: paired_difference(ours, asked).to_dict() for name, asked in same.items()}


def _units(in_metres: Sitting, in_units_: Sitting, limit: int | None) -> dict[str, Any]:
    """Lengths asked for in other units: share right, share of the same questions right in metres, and share of the
    answers that end in the unit asked for."""
    units = [question.said_unit for _, questions in _exam(UNITS, None, limit) for question in questions]
    named = [text.split()[-1:] == [unit] for text, unit in zip(in_units_.answers, units, strict=True)]
    shares = {"right": in_units_.board.macro, "in_metres": in_metres.board.macro}
    return {"units": shares | {"in_the_unit": sum(named) / len(named)}}


def _wordings(sat: dict[str, Sitting], rooms: Exam) -> dict[str, Any]:
    """The rates of every topic in its trained wording and in the five unseen ones, and how far these lie below."""
    ways = [name for name in sat if name.startswith("wording")]
    if not ways:
        return {}
    rates = topic_rates(rooms, [sat[name] for name in ("with depth", *ways)])
    return {"wordings": gaps(rates) | {"rates": rates}}


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
