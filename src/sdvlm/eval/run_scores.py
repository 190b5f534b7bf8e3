"""What a finished run is worth: ``scores.json``, and ``preds.json`` for judges."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sdvlm.eval.run_folder import RunFolder, write_json, write_lines
from sdvlm.eval.run_source import Source
from sdvlm.eval.scoring import Scoreboard, tally

__all__ = ["NOTES", "RULES_NOTE", "write_predictions", "write_scores"]

RULES_NOTE = (
    "scored by rules that read numbers and words, without a judge: stricter on words and lists than the published "
    "scores, which a language model judged, so compare the two with care"
)
NOTES = {
    "rules": RULES_NOTE,
    "exact match": "scored by exact match but for case, punctuation, articles and number words: for short answers",
}
"""what to know of each way a run is scored"""


def write_scores(source: Source, folder: RunFolder, about: dict[str, Any]) -> Scoreboard:
    """Score all answers of a folder into ``scores.json``; rates with counts and 95 % Wilson intervals.

    Args:
        source: whose ``outcome`` tells right from wrong.
        folder: the answers.
        about: further facts for the head of the file.
    """
    board = tally(source.outcome(record) for record in folder.records())
    head = {**about, "scorer": source.scorer, "note": NOTES[source.scorer]}
    write_json({**head, **board.to_dict()}, folder.path / "scores.json")
    return board


def write_predictions(records: Iterable[dict[str, Any]], model: str, path: Path) -> None:
    """Answers in the layout of the released inference script (``evaluation/inference.py``), which its judge reads.

    JSON Lines: first ``{"model"}``, then ``{"question", "pred", "gt", "type"}`` a row, with official type names.
    """
    rows = (
        {"question": one["raw_question"], "pred": one["answer"], "gt": one["reference"], "type": one["type"]}
        for one in records
    )
    write_lines([{"model": model}, *rows], path)
