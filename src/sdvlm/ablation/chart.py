"""The ablation drawn: one line a cell, a mark for each way of asking, the published figure beside (PNG)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.extras import require

__all__ = ["draw"]

_MARKS = (
    ("rooms", "rooms", "#0072B2", "o"),
    ("scaled", "scaled rooms", "#D55E00", "s"),
    ("withheld", "depth withheld", "#009E73", "^"),
)
"""Colours of Okabe and Ito (2008), which people with any colour vision tell apart"""


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the chart of an ablation, whole or not at all.

    Args:
        document: as ``ablation.json`` holds it.
        path: of the PNG.

    Raises:
        SdvlmError: matplotlib is not installed.
    """
    require("matplotlib", "the chart of an ablation")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(document["cells"])
    figure = Figure(figsize=(9, 1.4 + 0.42 * len(rows)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for index, (arm, label, color, marker) in enumerate(_MARKS):
        shown = [(place, row[arm]) for place, row in enumerate(rows) if arm in row]
        if not shown:
            continue
        middle = [100 * score["mean"] for _, score in shown]
        height = [place + 0.22 * (index - 1) for place, _ in shown]
        axes.errorbar(
            middle, height, xerr=_reach(shown), fmt=marker, color=color, label=label, capsize=2, markersize=6, lw=1.2
        )
    known = [(row["published"], place) for place, row in enumerate(rows) if row["published"] is not None]
    if known:
        axes.plot(
            [one for one, _ in known], [place for _, place in known], "D", color="none", markeredgecolor="#757575",
            label="published (7 B model, other questions)",
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("right answers, percent; bars: 95 % t-interval over seeds")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    written = io.BytesIO()
    FigureCanvasAgg(figure).print_png(written)
    with atomic_file(path) as stream:
        stream.write(written.getvalue())


def _reach(shown: list[tuple[int, dict[str, Any]]]) -> list[list[float]]:
    """Below and above each mean, in percent; nothing where there is no interval."""
    ends = [(score["mean"], *(score["interval"] or (score["mean"],) * 2)) for _, score in shown]
    return [[100 * (mean - low) for mean, low, _ in ends], [100 * (high - mean) for mean, _, high in ends]]
