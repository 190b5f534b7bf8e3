"""The table of the depth papers, with our figures beside the published ones, and what may be concluded from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["conclusion", "markdown"]

_HEAD = (
    "depth", "rooms", "scaled rooms", "lengths, scaled", "depth withheld", "lead, scaled", "published",
    "tokens", "parameters", "step",
)  # fmt: skip

_LEGEND = """\
Percent of held-out questions answered rightly (strict rules; mean of the eight families) and, in brackets, the 95 %
t-interval over seeds. *Scaled rooms*: the same pictures, all depth and true lengths multiplied by a factor that only
depth tells. *Lengths*: sizes and distances alone. *Lead*: percentage points over no depth on scaled rooms, question by
question (95 %, paired bootstrap over pictures). *Published*: SD-VLM's ablation of the same idea (arXiv 2509.17664),
a 7 B model on MSMU-Bench, judged by a language model: compare the order, not the level. *Tokens*, *parameters*: what
the fusion adds. *Step*: processor time of a training step over that without depth."""


def markdown(document: Mapping[str, Any]) -> str:
    """The whole document of an ablation as Markdown.

    Args:
        document: as ``ablation.json`` holds it.
    """
    lines = ["# Ablation: how depth enters", "", _setting(document), ""]
    lines.append("| " + " | ".join(_HEAD) + " |")
    lines.append("|---" * len(_HEAD) + "|")
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in document["cells"]]
    lines += ["", _LEGEND, "", conclusion(document), ""]
    return "\n".join(lines)


def conclusion(document: Mapping[str, Any]) -> str:
    """What can and what cannot be concluded, in a few sentences."""
    leads = {row["title"]: row["scaled"]["over_none"]["macro"] for row in document["cells"] if _leads(row)}
    up = [title for title, lead in leads.items() if lead["interval"][0] > 0]
    down = [title for title, lead in leads.items() if lead["interval"][1] < 0]
    level = [title for title in leads if title not in up and title not in down]
    seeds = min((row["seeds"] for row in document["cells"]), default=0)
    said = [
        f"Better than no depth on these scaled rooms beyond chance: {_listed(up)}; worse: {_listed(down)}; not told "
        f"apart: {_listed(level)}."
    ]
    if seeds < 2:
        said.append("With one seed the intervals know of other pictures, not of other runs: no order can be concluded.")
    else:
        said.append(f"Two cells whose intervals over {seeds} seeds overlap are not told apart by this run.")
    said.append(
        "It is one small model on drawn rooms, all cells trained alike and briefly: it says which way in is learned "
        "soonest there, not which is best for a large model trained to the end, and nothing about photographs."
    )
    return " ".join(said)


def _setting(document: Mapping[str, Any]) -> str:
    config = document["config"]
    text = (
        f"{document['questions']} questions about {document['test_pictures']} held-out pictures; every cell: "
        f"{config['steps']} steps of {config['pictures']} pictures with {config['questions']} questions each, from "
        f"{document['train_pictures']} pictures, {config['seeds']} seed{'s' if config['seeds'] > 1 else ''}."
    )
    estimator = document.get("estimator")
    if estimator:
        text += (
            f" The estimator of depth reads the picture alone: mean relative error {100 * estimator['abs_rel']:.0f} %, "
            f"{100 * estimator['delta1']:.0f} % of patches within a factor of 1.25."
        )
    return text


def _cells(row: Mapping[str, Any]) -> list[str]:
    lead = row["scaled"]["over_none"]["macro"] if _leads(row) else None
    cost = row.get("cost")
    return [
        row["title"],
        _score(row.get("rooms")),
        _score(row.get("scaled")),
        _score((row.get("scaled") or {}).get("lengths")),
        _score(row.get("withheld")),
        "" if lead is None else f"{100 * lead['rate']:+.1f} ({_range(lead['interval'])})",
        "" if row["published"] is None else f"{row['published']:.2f}",
        f"+{row['extra_tokens']}" if row["extra_tokens"] else "0",
        f"{row['parameters']:,}",
        "" if not cost else f"{cost['ratio']:.2f} x",
    ]


def _score(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    interval = score["interval"]
    return f"{100 * score['mean']:.1f}" + ("" if interval is None else f" ({_range(interval)})")


def _range(interval: list[float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _leads(row: Mapping[str, Any]) -> bool:
    return "over_none" in (row.get("scaled") or {})


def _listed(titles: list[str]) -> str:
    return ", ".join(titles) or "none"
