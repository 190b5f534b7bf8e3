"""Charts as plain HTML: bars with their numbers, columns over a scale, a grid of tints. No script, no picture file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sdvlm.inspect.histograms import LengthHistogram, PointHistogram

__all__ = ["bars", "card", "columns", "length_chart", "point_chart"]

_TICKS_M = (0.01, 0.1, 1, 10, 100)
_WIDE, _HIGH, _LABEL = 320.0, 110.0, 44.0


def card(title: str, note: str, body: str) -> str:
    """A chart in its frame, with its name and a line about it (plain texts; ``body`` is HTML)."""
    about = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f'<div class="card"><h3>{escape(title)}</h3>{about}{body}</div>\n'


def bars(rows: Sequence[tuple[str, int]], total: int | None = None) -> str:
    """One line a label: name, bar, count, and the share of ``total`` (of all rows by default)."""
    whole = sum(count for _, count in rows) if total is None else total
    longest = max((count for _, count in rows), default=0) or 1
    lines = [
        f'<tr><th scope="row">{escape(label)}</th>'
        f'<td class="bar"><span style="width:{100 * count / longest:.1f}%"></span></td>'
        f'<td class="number">{count:,}</td><td class="number soft">{_percent(count, whole)}</td></tr>'
        for label, count in rows
    ]
    return f'<table class="bars">{"".join(lines)}</table>' if lines else '<p class="soft">none</p>'


def columns(counts: Sequence[int], ticks: Sequence[tuple[float, str]], said: str) -> str:
    """Columns side by side.

    Args:
        counts: heights.
        ticks: (place in columns from the left edge, label) below the axis.
        said: the chart in words.
    """
    step, top = _WIDE / max(1, len(counts)), max([*counts, 1])
    shapes = [
        f'<rect x="{index * step + 0.5:.1f}" y="{_HIGH * (1 - count / top):.1f}" width="{max(step - 1, 0.5):.1f}" '
        f'height="{_HIGH * count / top:.1f}"/>'
        for index, count in enumerate(counts)
        if count
    ]
    labels = []
    free = -math.inf
    for place, label in ticks:
        x = place * step
        if x < free:  # its label would stand on the one before
            continue
        anchor = "start" if x < 12 else "end" if x > _WIDE - 12 else "middle"
        free = x + (1.5 if anchor == "start" else 1) * _LABEL
        labels.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_HIGH}" y2="{_HIGH + 4}"/>')
        labels.append(f'<text x="{x:.1f}" y="{_HIGH + 17}" text-anchor="{anchor}">{escape(label)}</text>')
    return (
        f'<svg class="chart" viewBox="-2 -2 {_WIDE + 4} {_HIGH + 24}" role="img" aria-label="{escape(said)}">'
        f'{"".join(shapes)}<line x1="0" x2="{_WIDE}" y1="{_HIGH}" y2="{_HIGH}"/>{"".join(labels)}</svg>'
    )


def length_chart(lengths: LengthHistogram) -> str:
    """Lengths over a logarithmic scale in metres, as far as there are any."""
    filled = [place for place, count in enumerate(lengths.cells) if count]
    first, last = (max(filled[0] - 1, 0), min(filled[-1] + 2, len(lengths.cells))) if filled else (0, 1)
    cells = lengths.cells[first:last]
    marks = sorted({*_TICKS_M, *((0.02, 0.05, 0.2, 0.5, 2, 5, 20, 50) if last - first <= 20 else ())})
    edges = [lengths.edge(place) for place in range(first, last + 1)]
    ticks = [(_place(mark, edges), f"{mark:g} m") for mark in marks if edges[0] * 0.999 <= mark <= edges[-1] * 1.001]
    return columns(cells, ticks, f"{lengths.total} lengths from {lengths.lowest:g} to {lengths.highest:g} m")


def point_chart(points: PointHistogram) -> str:
    """Places in the picture: the more points a field holds, the darker it is."""
    top = max(max(row) for row in points.cells) or 1
    side = 14
    fields = [
        f'<rect x="{side * x}" y="{side * 0.75 * y}" width="{side - 1}" height="{side * 0.75 - 1}" '
        f'fill-opacity="{0.06 + 0.94 * count / top:.2f}"/>'
        for y, row in enumerate(points.cells)
        for x, count in enumerate(row)
    ]
    said = f"{sum(map(sum, points.cells))} points over the picture"
    return (
        f'<svg class="grid" viewBox="0 0 {8 * side} {6 * side}" role="img" aria-label="{said}">{"".join(fields)}</svg>'
    )


def _place(value: float, edges: Sequence[float]) -> float:
    """Where a value stands among logarithmic cells, in cells from the left."""
    step = math.log(edges[-1] / edges[0]) / (len(edges) - 1)
    return math.log(value / edges[0]) / step


def _percent(count: int, whole: int) -> str:
    share = 100 * count / whole if whole else 0.0
    return "" if not whole else "< 1 %" if 0 < share < 1 else f"{share:.0f} %"
