"""The nano model's card: data, recipe and measured scores, written from the files a training run left."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from sdvlm.nano.config import NanoConfig
from sdvlm.nano.recipe import ARMS

__all__ = ["model_card", "record"]

_COLUMNS = ("with depth", "trained without depth", "min-max depth code", "constant")
_CONTROLS = ("depth withheld", "another picture's depth", "shuffled depth")
_SECTIONS = {
    "scaled rooms": (
        "## Rooms of another scale",
        "The same pictures with all depth and all true lengths multiplied by a factor of 1.35 to 2, or its inverse. "
        "No picture shows the factor: only depth tells it.",
    ),
    "photographs": (
        "## Photographs",
        "Real pictures with measured depth, questions of `sdvlm build` about annotated objects in them. Nothing of the "
        "kind was trained on; most names (pedestrian, ottoman, potted meat can) the model has never read.",
    ),
}

_HEAD = """\
---
license: apache-2.0
pipeline_tag: image-text-to-text
tags: [depth, spatial reasoning]
---

# sdvlm nano

A LLaVA of {parameters:.1f} million parameters (CLIP-style tower, {image_tokens} image tokens, Llama-style language
model, a tokenizer of its own, {megabytes:.1f} MB in half precision) with a point-map depth fusion. It answers the
eight MSMU kinds of question about a picture, a depth map in metres and a camera.

**It was trained on procedurally drawn rooms and nothing else. It has never seen a photograph; on photographs its
answers may be wrong.** It is a test article and a demonstration of the chain, not a measuring device.
"""

_SCORES = """\
## MSMU-Rooms

{questions} questions about {pictures} pictures of rooms that nothing trains on (`sdvlm eval rooms`); strict rules
(`sdvlm.eval.scoring`): lengths within a factor of 1.25, every item of a list, exact counts and words. Percent right,
with 95 % intervals. Beside it:
{columns}.
"""
_SAID = {
    "trained without depth": "the same recipe with depth always withheld",
    "min-max depth code": "the same recipe with the code of the paper's release",
    "constant": "the best fixed answer to each kind of question, fitted on other rooms",
    "depth withheld": "the model with depth when it is given none",
}
"""what the columns of a table are"""


def model_card(scores: dict[str, Any], run: dict[str, Any]) -> str:
    """Markdown of the card.

    Args:
        scores: what ``nano.evaluate`` wrote.
        run: ``parameters``, ``megabytes``, ``image_tokens`` and ``notes``, a list of sentences on data, steps, time and
            hardware.
    """
    rows = scores["rows"]
    columns = "; ".join(f"{row}, {words}" for row, words in _SAID.items() if row in rows["rooms"])
    lines = [_HEAD.format(**run), _SCORES.format(**scores, columns=columns), *_table(rows["rooms"])]
    lines += _leads(scores, "rooms") + _robustness(scores)
    for exam, (title, words) in _SECTIONS.items():
        if exam in rows:
            lines += ["", title, "", words, "", *_table(rows[exam]), *_leads(scores, exam)]
    lines += ["", "## Data and training", "", *[f"- {note}" for note in run["notes"]], *_curve(scores)]
    lines += [*_on_the_way(scores), ""]
    return "\n".join(lines)


def _table(rows: dict[str, Any]) -> list[str]:
    columns = [name for name in (*_COLUMNS, *_CONTROLS) if name in rows]
    lines = ["| family | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for family in rows[columns[0]]["families"]:
        cells = [_cell(rows[column]["families"][family]) for column in columns]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    means = [_cell(rows[column]["macro"]) for column in columns]
    return [*lines, "| **mean of the families** | " + " | ".join(means) + " |"]


def _leads(scores: dict[str, Any], exam: str) -> list[str]:
    """With depth less the models trained otherwise, question by question."""
    found = scores.get("leads", {}).get(exam, {})
    words = [f"{_cell(found[row]['macro'])} over {row}" for row in _COLUMNS[1:3] if row in found]
    lead = "Lead with depth, question by question (paired bootstrap over pictures), in points: "
    return ["", lead + "; ".join(words) + "."] if words else []


def _robustness(scores: dict[str, Any]) -> list[str]:
    """Wordings, units, poorer depth: means of the families in percent."""
    rows = scores["rows"]["rooms"]
    lines = ["", "| changed | mean of the families |", "|---|---|"]
    wordings = [row for row in rows if row.startswith("wording")]
    if wordings:
        rates = [100 * rows[row]["macro"]["rate"] for row in wordings]
        ours = "wordings that training never used"
        lines.append(f"| {ours} ({len(rates)}) | {sum(rates) / len(rates):.1f} ({min(rates):.1f}-{max(rates):.1f}) |")
    lines += [f"| {row} | {_cell(rows[row]['macro'])} |" for row in rows if row.startswith("noise") or "holes" in row]
    if "units" in scores:
        units = {name: round(100 * share) for name, share in scores["units"].items()}
        words = f"{units['in_metres']} in metres; {units['in_the_unit']} % of the answers name the unit"
        lines.append(f"| lengths asked in other units | {units['right']} ({words}) |")
    if "wordings" in scores:
        of = scores["wordings"]
        near = f"{of['within_5']} are answered as well as the trained wording or at most 5 points worse"
        words = f"{near}, {of['within_10']} at most 10, {of['lost']} more than 30 points worse"
        lines += ["", f"Of {of['pairs']} pairs of topic and unseen wording {words}."]
    return lines if len(lines) > 3 else []


def _curve(scores: dict[str, Any]) -> list[str]:
    """How the mean loss of an answer fell, arm by arm."""
    said = []
    for arm, losses in scores.get("curve", {}).items():
        step = max(1, len(losses) // 5)
        some = losses[step - 1 :: step]
        said.append(f"{arm} " + ", ".join(f"{one['answer']:.2f} at step {one['step']}" for one in some))
    return [f"- The curve, mean loss of an answer over the hundred steps before: {'; '.join(said)}."] if said else []


def _on_the_way(scores: dict[str, Any]) -> list[str]:
    """What the checkpoints kept on the way were worth, the finished one behind them."""
    if not scores.get("on_the_way"):
        return []
    rooms = scores["rows"]["rooms"]
    names = {"with depth": "MSMU-Rooms", "wording 1": "first unseen wording", "lengths in other units": "other units"}
    last = {name: rooms[name]["macro"]["rate"] for name in ("with depth", "wording 1")}
    points = [*scores["on_the_way"], last | {"step": "end", "lengths in other units": scores["units"]["right"]}]
    lines = [
        "",
        "The curve over compute, with depth, steps of the last stage (before the end the learning rate is high):",
        "",
    ]
    lines += ["| step | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
    return lines + [
        f"| {one['step']} | " + " | ".join(f"{100 * one[name]:.1f}" for name in names) + " |" for one in points
    ]


def _cell(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    return f"{100 * score['rate']:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def record(out: Path, notes: Sequence[str], controls: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is kept of a finished and scored run: its scores, how it was made, how its losses fell.

    Args:
        out: folder of ``nano.train``, with ``scores.json`` of ``nano.evaluate``.
        notes: sentences for the card.
        controls: what ``sdvlm bench controls --model`` wrote about the model with depth.
    """
    weights = out / "with-depth" / "checkpoint" / "model.safetensors"
    config = NanoConfig(**json.loads((weights.parent / "nano.json").read_text()))
    with safe_open(weights, framework="pt") as file:
        parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    recipe = json.loads((out / "recipe.json").read_text())
    run = {
        "parameters": parameters / 1e6,
        "megabytes": weights.stat().st_size / 1e6,
        "image_tokens": config.image_tokens,
        "notes": list(notes),
        "recipe": recipe | {"start": Path(recipe.get("start", "")).name},
    }
    curve = {arm: _losses(out / arm / "weights.log.jsonl") for arm in ARMS if (out / arm).exists()}
    kept: dict[str, Any] = json.loads((out / "scores.json").read_text()) | {"run": run, "curve": curve}
    return kept if controls is None else kept | {"controls": controls}


def _losses(log: Path) -> list[dict[str, float]]:
    """Mean loss of the answers before each step that was reported."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [{"step": line["step"], "answer": line["answer"]} for line in lines]


def main(argv: list[str] | None = None) -> None:
    """``python -m sdvlm.nano.card OUT --notes NOTES.md --scores SCORES.json --card CARD.md``."""
    import argparse

    parser = argparse.ArgumentParser(description="Write down a finished run of nano: its scores and its model card.")
    parser.add_argument("out", type=Path, help="folder of sdvlm nano train, scored")
    parser.add_argument("--notes", type=Path, required=True, help="sentences for the card, a list item a line")
    parser.add_argument("--scores", type=Path, required=True, help="JSON to write")
    parser.add_argument("--card", type=Path, required=True, help="Markdown to write")
    parser.add_argument("--controls", type=Path, help="what sdvlm bench controls --model wrote")
    args = parser.parse_args(argv)
    notes = [line.removeprefix("- ") for line in args.notes.read_text().splitlines() if line.startswith("- ")]
    kept = record(args.out, notes, None if args.controls is None else json.loads(args.controls.read_text()))
    args.scores.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    args.card.write_text(model_card(kept, kept["run"]), encoding="utf-8")


if __name__ == "__main__":
    main()
