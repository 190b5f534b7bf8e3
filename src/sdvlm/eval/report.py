"""Runs side by side, and beside the published table, as values. ``report_text`` and ``figures`` show them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdvlm.data.schema import QuestionType
from sdvlm.eval.published import COLUMNS, PUBLISHED, PublishedRow
from sdvlm.eval.run_folder import CONTROLS, read_json
from sdvlm.eval.scoring import Family, FamilyScore, General, Scoreboard
from sdvlm.types import SdvlmError

__all__ = ["Report", "ReportRow", "make_report", "read_run"]


@dataclass(frozen=True)
class ReportRow:
    """One run, control or published model.

    Args:
        name: what the row is called.
        rates: percentages by family, of those asked or printed.
        mean: of the families; None where a published row leaves columns out.
        micro: percentage over all questions alike; None for published rows.
        scorer: ``rules``, ``exact match``, a judged scorer's name, or ``published``.
        board: counts and intervals of our own rows.
        printed: the average as printed, for published rows.
        note: what to know about the row.
        bench: which questions.
        control: whether depth was tampered with.
        data: fingerprint of the questions asked; None where it is not known.
        source: name of the file or folder they came from; empty where it is not known.
    """

    name: str
    rates: dict[Family, float]
    mean: float | None
    micro: float | None
    scorer: str
    board: Scoreboard | None = None
    printed: float | None = None
    note: str = ""
    bench: str = "msmu"
    control: str | None = None
    data: str | None = None
    source: str = ""

    @property
    def published(self) -> bool:
        """Whether the row is from the published table."""
        return self.scorer == "published"

    @property
    def general(self) -> bool:
        """Whether it is about questions of none of MSMU's families."""
        return self.bench == General.GENERAL

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; percentages."""
        out: dict[str, Any] = {"name": self.name, "bench": self.bench, "scorer": self.scorer, "control": self.control}
        out |= {"rates": {family.value: rate for family, rate in self.rates.items()}}
        out |= {"mean_of_families": self.mean, "all_questions": self.micro, "printed_average": self.printed}
        return out | {"counts": self.board and self.board.to_dict(), "note": self.note}


@dataclass(frozen=True)
class Report:
    """Rows of runs first, then published ones."""

    rows: tuple[ReportRow, ...]

    @property
    def runs(self) -> tuple[ReportRow, ...]:
        """Our own rows about space."""
        return tuple(row for row in self.rows if not row.published and not row.general)

    @property
    def general(self) -> tuple[ReportRow, ...]:
        """Our own rows about anything else: what the models still can besides."""
        return tuple(row for row in self.rows if row.general)

    @property
    def published(self) -> tuple[ReportRow, ...]:
        """The published rows; none where no run is about MSMU."""
        return tuple(row for row in self.rows if row.published)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"rows": [row.to_dict() for row in self.rows]}


def make_report(folders: Sequence[Path]) -> Report:
    """Read run folders, their controls and judged scores included.

    Raises:
        SdvlmError: no folder, or one that holds no finished run.
    """
    if not folders:
        raise SdvlmError("give at least one run folder (sdvlm eval ... --out DIR)")
    runs = [row for group in _named_apart([read_run(folder) for folder in folders], folders) for row in group]
    about_msmu = any(row.bench == "msmu" for row in runs)
    return Report((*runs, *(_published(row) for row in PUBLISHED if about_msmu)))


def read_run(folder: Path) -> list[ReportRow]:
    """The rows of one run folder: its own first, then its controls, then what judges said of it.

    Judged scores are files ``scores-NAME.json`` beside ``scores.json``, as ``sdvlm score --json`` prints them.

    Raises:
        SdvlmError: no finished run is there.
    """
    if not folder.is_dir():
        raise SdvlmError(f"no folder '{folder}'; give the folder of a run (sdvlm eval ... --out DIR)")
    scores = read_json(folder / "scores.json")
    bench = str(scores["bench"])
    name = _short(scores["model"]) + (", scaled" if bench.startswith("scaled ") else "")
    scorer = str(scores.get("scorer", "rules"))
    main = _row(name, scores, scorer, bench)
    rows = [main] if scores.get("control") is None else [_as_control(main, scores["control"])]
    for control in CONTROLS:
        if (folder / control / "scores.json").is_file():
            rows.append(_as_control(_row(name, read_json(folder / control / "scores.json"), scorer, bench), control))
    for path in sorted(folder.glob("scores-*.json")):
        label, scored = path.stem.removeprefix("scores-"), read_json(path)
        rows.append(_row(f"{name} ({label})", scored, str(scored.get("scorer", label)), bench))
    log = folder / "run.json"
    said = read_json(log) if log.is_file() else {}
    data, facts = said.get("settings", {}).get("data_fingerprint"), said.get("data", {})
    note, source = _long_references(facts), Path(str(facts.get("data", ""))).name
    return [replace(row, data=data, source=source, note=row.note or note) for row in rows]


def _long_references(facts: dict[str, Any]) -> str:
    number, of = facts.get("long_references", 0), facts.get("rows", 0)
    return f"{number} of {of} references are no short answers, so that exact match seldom passes them" if number else ""


def _as_control(row: ReportRow, control: str) -> ReportRow:
    return replace(row, name=f"{row.name}, {CONTROLS.get(control, control)}", control=control)


def _row(name: str, scores: dict[str, Any], scorer: str, bench: str) -> ReportRow:
    try:
        families = {_family(family): _score(values) for family, values in scores["families"].items()}
    except (KeyError, ValueError, TypeError) as error:
        raise SdvlmError(f"the scores of '{name}' ({scorer}) are not those of a run: {error!r}") from error
    board = Scoreboard({family: families[family] for family in (*COLUMNS, *General) if family in families})
    asked = {family: score for family, score in board.families.items() if score.asked}
    rates = {family: 100 * score.rate for family, score in asked.items()}
    missing = len(COLUMNS) - len(asked)
    note = f"{missing} of 8 families were not asked; the mean is over the others"
    note = note if missing and bench != General.GENERAL else ""
    mean = sum(rates.values()) / len(rates) if rates else math.nan
    return ReportRow(name, rates, mean, 100 * board.overall.rate, scorer, board, note=note, bench=bench)


def _family(name: str) -> Family:
    return General.GENERAL if name == General.GENERAL else QuestionType(name)


def _score(values: dict[str, Any]) -> FamilyScore:
    """From ``scores.json`` (asked, right, unparsed), or from ``sdvlm score`` (count, correct)."""
    asked = values["asked"] if "asked" in values else values["count"]
    right = values["right"] if "right" in values else values["correct"]
    return FamilyScore(int(asked), int(right), int(values.get("unparsed") or 0))


def _published(row: PublishedRow) -> ReportRow:
    return ReportRow(
        f"{row.name} (published)",
        dict(row.by_family.items()),
        row.mean,
        None,
        "published",
        printed=row.printed,
        note=row.note,
    )


def _short(model: str) -> str:
    """A folder by its last part, a hub id whole."""
    path = Path(model)
    return path.name if path.is_absolute() or len(path.parts) > 2 or path.is_dir() else model


def _named_apart(groups: list[list[ReportRow]], folders: Sequence[Path]) -> list[list[ReportRow]]:
    """Runs of one model are told apart by their folders."""
    called = [(group[0].name, group[0].general) for group in groups]
    uses = Counter(called)
    return [
        [replace(row, name=f"{row.name} [{folder.name}]") for row in group] if uses[name] > 1 else group
        for group, name, folder in zip(groups, called, folders, strict=True)
    ]
