"""The nano model's card: data, recipe and measured scores, written from the files a training run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["model_card"]

_COLUMNS = ("with depth", "trained without depth", "constant")
_CONTROLS = ("depth withheld", "another picture's depth")

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
## Scores

{questions} questions about {pictures} pictures of held-out rooms (seeds that training never used), the same number of
each kind as far as it goes; strict rules (`sdvlm.eval.scoring`): lengths within a factor of 1.25, every item of a list,
exact counts and words. Percent right, with 95 % intervals. "Trained without depth" is the same recipe, data and steps
with depth always withheld; "constant" is the best fixed answer to each kind of question, fitted on other rooms.
"""

_LEAD = (
    "With depth less trained without depth, question by question (paired bootstrap over pictures): {lead} points, "
    "each family counting the same."
)


def model_card(scores: dict[str, Any], run: dict[str, Any]) -> str:
    """Markdown of the card.

    Args:
        scores: what ``nano.evaluate`` wrote: row name -> scoreboard.
        run: ``parameters``, ``megabytes``, ``image_tokens``, ``questions``, ``pictures``, and ``notes``, a list of
            sentences on data, steps, time and hardware.
    """
    lines = [_HEAD.format(**run), _SCORES.format(**run)]
    columns = [name for name in (*_COLUMNS, *_CONTROLS) if name in scores]
    lines.append("| family | " + " | ".join(columns) + " |")
    lines.append("|---" * (len(columns) + 1) + "|")
    for family in scores[columns[0]]["families"]:
        cells = [_cell(scores[column]["families"][family]) for column in columns]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    lines.append("| **mean of the families** | " + " | ".join(_cell(scores[c]["macro"]) for c in columns) + " |")
    if "lead over the twin" in scores:
        lines += ["", _LEAD.format(lead=_cell(scores["lead over the twin"]["macro"]))]
    lines += ["", "## Data and training", "", *[f"- {note}" for note in run["notes"]], ""]
    return "\n".join(lines)


def _cell(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    return f"{100 * score['rate']:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def main(argv: list[str] | None = None) -> None:
    """``python -m sdvlm.nano.card SCORES.json RUN.json CARD.md``."""
    import argparse

    parser = argparse.ArgumentParser(description="Write the nano model's card.")
    for name in ("scores", "run", "card"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args(argv)
    card = model_card(json.loads(args.scores.read_text()), json.loads(args.run.read_text()))
    args.card.write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
