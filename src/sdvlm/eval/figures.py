"""The comparison drawn: bars family by family, and a radar. PNG and SVG, by matplotlib without a display.

Our runs are in the colours of Okabe and Ito (2008), which people with any colour vision tell apart, in the order of the
legend and with a marker each; published rows are grey, told apart by hatching and dashes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdvlm.data.schema import QuestionType
from sdvlm.depth.atomic import atomic_file
from sdvlm.eval.published import CODES, COLUMNS, SHOWN_IN_FIGURES
from sdvlm.eval.report import Report, ReportRow
from sdvlm.extras import require

__all__ = ["bar_figure", "draw", "radar_figure"]

_OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_GREYS = ("#757575", "#9e9e9e", "#bcbcbc")
_HATCHES = ("///", "...", "\\\\\\")
_MARKERS = "osD^vPX"
_AGAIN = (("", "-"), ("xx", "--"), ("oo", ":"))
_DASHES = ((0, (6, 2)), (0, (2, 2)), (0, (6, 2, 1, 2)))
_SETTINGS = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "sdvlm",
    "hatch.linewidth": 0.6,
}
_LONGEST_NAME = 64
_CAVEAT = (
    "Published: answers judged by a language model. Scored by rules: no judge, so the two are not the same measure."
)


@dataclass(frozen=True)
class _Look:
    """How a row is drawn."""

    row: ReportRow
    color: str
    hatch: str
    marker: str
    dash: Any

    @property
    def label(self) -> str:
        name = self.row.name if len(self.row.name) <= _LONGEST_NAME else self.row.name[: _LONGEST_NAME - 1] + "…"
        return name if self.row.published else f"{name} (scored by {self.row.scorer})"


def draw(report: Report, folder: Path) -> list[Path]:
    """Write ``bars`` and ``radar`` as PNG and SVG into a folder. Returns the four paths.

    Raises:
        SdvlmError: matplotlib is not installed.
    """
    out = []
    for name, figure in (("bars", bar_figure(report)), ("radar", radar_figure(report))):
        for kind in ("png", "svg"):
            path = folder / f"{name}.{kind}"
            with atomic_file(path) as stream:
                stream.write(_rendered(figure, kind))
            out.append(path)
    return out


def _rendered(figure: Any, kind: str) -> bytes:
    stream = io.BytesIO()
    with _matplotlib().rc_context(_SETTINGS):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}  # the same report, the same bytes
        figure.savefig(stream, format=kind, dpi=150, facecolor="white", metadata=metadata)
    return stream.getvalue()


def _matplotlib() -> Any:
    return require("matplotlib", "drawing figures")


def _new_figure(width: float, height: float) -> Any:
    """A figure bound to the Agg canvas: no display, no pyplot, no state shared with the caller."""
    _matplotlib()
    figure = require("matplotlib.figure").Figure(figsize=(width, height), layout=None)
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def _looks(report: Report) -> list[_Look]:
    ours = []
    for index, row in enumerate(report.runs):
        turn, place = divmod(index, len(_OKABE_ITO))  # beyond seven runs: the colours again, hatched and dashed
        hatch, dash = _AGAIN[min(turn, len(_AGAIN) - 1)]
        ours.append(_Look(row, _OKABE_ITO[place], hatch, _MARKERS[place], dash))
    shown = [row for name in SHOWN_IN_FIGURES for row in report.published if row.name == f"{name} (published)"]
    theirs = [_Look(row, _GREYS[i], _HATCHES[i], "", _DASHES[i]) for i, row in enumerate(shown)]
    return ours + theirs


def _families(report: Report) -> list[QuestionType]:
    """Those that any run was asked, in the published order."""
    return [family for family in COLUMNS if any(family in row.rates for row in report.runs)]


def bar_figure(report: Report) -> Any:
    """Bars in groups: each family, then the mean of the families; whiskers are 95 % intervals of our own rows."""
    looks, families = _looks(report), _families(report)
    columns = 2 if all(len(look.label) <= 56 for look in looks) else 1
    legend_rows = math.ceil(len(looks) / columns)
    height = 5.3 + 0.29 * legend_rows
    with _matplotlib().rc_context(_SETTINGS):
        figure = _new_figure(max(12.0, 0.2 * len(looks) * (len(families) + 1)), height)
        axes = figure.add_axes((0.065, 0.95 / height, 0.925, 4.1 / height))
        width = 0.84 / len(looks)
        for index, look in enumerate(looks):
            values = [look.row.rates.get(family, math.nan) for family in families]
            values.append(math.nan if look.row.mean is None else look.row.mean)
            at = [group - 0.42 + (index + 0.5) * width for group in range(len(values))]
            axes.bar(at, values, width * 0.92, color=look.color, hatch=look.hatch, edgecolor="white", linewidth=0.4,
                     label=look.label)  # fmt: skip
            _whiskers(axes, look.row, families, at, values)
        names = [CODES[family][1].replace(" ", "\n") for family in families]
        axes.set_xticks(range(len(names) + 1), [*names, "Mean of\nfamilies"])
        axes.axvline(len(names) - 0.5, color="#c8c8c8", linewidth=1)
        axes.set_xlim(-0.55, len(names) + 0.55)
        axes.set_ylim(0, _ceiling(looks))
        axes.set_ylabel("right answers, %")
        axes.yaxis.grid(True, color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", length=0)
        figure.legend(loc="upper left", bbox_to_anchor=(0.055, 0.995), ncols=columns, frameon=False, columnspacing=2.5)
        _caveat(figure, report)
    return figure


def _whiskers(
    axes: Any, row: ReportRow, families: Sequence[QuestionType], at: Sequence[float], values: Sequence[float]
) -> None:
    if row.board is None:
        return
    intervals = [row.board.families[f].interval if f in row.board.families else None for f in families]
    for x, value, interval in zip(at, values, [*intervals, row.board.macro_interval], strict=True):
        if interval is not None and not math.isnan(value):
            below, above = value - 100 * interval[0], 100 * interval[1] - value
            axes.errorbar(x, value, [[max(below, 0)], [max(above, 0)]], color="#222222", linewidth=1, capsize=2)


def _ceiling(looks: Sequence[_Look]) -> float:
    tops = [rate for look in looks for rate in look.row.rates.values()]
    tops += [
        100 * score.interval[1]
        for look in looks
        if look.row.board is not None
        for score in look.row.board.families.values()
    ]
    return min(100.0, 10 * math.ceil((max(tops, default=0) + 2) / 10))


def radar_figure(report: Report) -> Any:
    """One axis a family, one closed line a row; rows that lack a family are left out."""
    families = _families(report)
    looks = [look for look in _looks(report) if all(family in look.row.rates for family in families)]
    with _matplotlib().rc_context(_SETTINGS):
        height = 8.0 + 0.29 * len(looks)
        figure = _new_figure(9.0, height)
        axes = figure.add_axes((0.17, 1.2 / height, 0.66, 5.94 / height), projection="polar")
        axes.set_theta_offset(math.pi / 2)
        axes.set_theta_direction(-1)
        angles = [2 * math.pi * i / len(families) for i in range(len(families))]
        for look in looks:
            values = [look.row.rates[family] for family in families]
            line = {"color": look.color, "linestyle": look.dash, "linewidth": 2, "label": look.label}
            axes.plot([*angles, angles[0]], [*values, values[0]], marker=look.marker or None, markersize=5, **line)
        axes.set_xticks(angles, [""] * len(angles))
        top = _radar_top(looks)
        for angle, family in zip(angles, families, strict=True):
            across, along = math.sin(angle), math.cos(angle)
            axes.text(angle, 1.07 * top, CODES[family][1].replace(" ", "\n"), fontsize=13,
                      ha="left" if across > 0.1 else "right" if across < -0.1 else "center",
                      va="bottom" if along > 0.1 else "top" if along < -0.1 else "center")  # fmt: skip
        axes.set_ylim(0, top)
        axes.set_yticks(range(20, int(top) + 1, 20), [f"{tick}" for tick in range(20, int(top) + 1, 20)])
        axes.set_rlabel_position(180 / max(len(families), 1))
        for tick in axes.get_yticklabels():
            tick.set(
                color="#444444", fontsize=11, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            )
        axes.grid(color="#dcdcdc", linewidth=0.8)
        axes.spines["polar"].set_color("#bdbdbd")
        figure.legend(loc="upper left", bbox_to_anchor=(0.05, 0.995), frameon=False)
        _caveat(figure, report)
    return figure


def _radar_top(looks: Sequence[_Look]) -> float:
    return min(
        100.0, 20 * math.ceil(max((rate for look in looks for rate in look.row.rates.values()), default=20) / 20)
    )


def _caveat(figure: Any, report: Report) -> None:
    if report.published:
        figure.text(0.5, 0.012, _CAVEAT, ha="center", va="bottom", fontsize=9.5, color="#444444", wrap=True)
