"""A report as tables: plain text for a terminal, Markdown, and a page that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sdvlm.eval.published import CODES, COLUMNS, SOURCE
from sdvlm.eval.report import Report, ReportRow
from sdvlm.eval.scoring import FamilyScore
from sdvlm.page.style import STYLE

__all__ = ["NOT_THE_JUDGE", "Table", "notes", "tables", "to_html", "to_markdown", "to_text"]

NOT_THE_JUDGE = (
    "Rows scored by rules are not the judge's scores: the published rows were judged by a language model, which passes "
    "a list by its mean ratio and words by their meaning. Compare runs with each other; with the published rows only "
    "where the same judge scored both."
)
NO_GENERAL = (
    "No run is over general questions: whether the model still can what it could before cannot be told. "
    "Run sdvlm eval general --data FILE, and name its folder too."
)
TITLE = "Success rates in percent"
GENERAL_TITLE = "General questions: success rates in percent"


@dataclass(frozen=True)
class Table:
    """Cells as text. The first column is read from the left, the others are numbers."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(report: Report) -> list[Table]:
    """The comparison, general questions, then the counts and intervals of each run."""
    first = [_comparison(report)] if report.runs else []
    general = [_general(report)] if report.general else []
    return [*first, *general, *(_counts(row) for row in report.runs)]


def notes(report: Report) -> list[str]:
    """What has to be known to read the tables."""
    legend = ", ".join(f"{code} {name.lower()}" for code, name in CODES.values())
    out = [f"Columns: {legend}; mean: of the families; all: every question alike; n: questions asked."]
    out = out if report.runs else []
    if report.published:
        out += [NOT_THE_JUDGE, f"Published rows: {SOURCE}. Their printed averages stand in the column printed."]
    out += [f"{row.name}: {row.note}." for row in report.rows if row.note]
    if len({(row.bench, row.data) for row in report.runs}) > 1:
        out.append("The runs were not all asked the same questions: their rates are of different things.")
    without = {row.name for row in report.runs if row.control is None and row.scorer == "rules"}
    if without and not any(row.control for row in report.runs):
        out.append("No run has its controls: whether depth is used cannot be told. Run sdvlm eval with --controls.")
    if report.runs and not report.general:
        out.append(NO_GENERAL)
    return out


def _comparison(report: Report) -> Table:
    printed = bool(report.published)
    head = ("", *(CODES[family][0] for family in COLUMNS), "mean", "all", "n", "scored by")
    rows = [_line(row, printed) for row in (*report.runs, *report.published)]
    return Table(TITLE, (*head[:-3], "printed", *head[-3:]) if printed else head, tuple(rows))


def _line(row: ReportRow, printed: bool) -> tuple[str, ...]:
    cells = [row.name, *(_number(row.rates.get(family)) for family in COLUMNS), _number(row.mean)]
    cells += [_number(row.printed)] if printed else []
    asked = "" if row.board is None else str(row.board.overall.asked)
    return (*cells, _number(row.micro), asked, "judge" if row.published else row.scorer)


def _general(report: Report) -> Table:
    rows = []
    for row in report.general:
        assert row.board is not None
        name, *cells = _counted(row.name, row.board.overall)
        rows.append((name, row.source, *cells, row.scorer))
    return Table(GENERAL_TITLE, ("", "data", *_COUNTED, "scored by"), tuple(rows))


def _counts(row: ReportRow) -> Table:
    assert row.board is not None
    families = row.board.families
    lines = [_counted(CODES[one][1], families[one]) for one in COLUMNS if one in families and families[one].asked]
    low, high = row.board.macro_interval
    lines.append(("mean of the families", _number(row.mean), f"{100 * low:.1f} to {100 * high:.1f}", "", "", ""))
    lines.append(_counted("all questions", row.board.overall))
    return Table(f"{row.name}, scored by {row.scorer}", ("", *_COUNTED), tuple(lines))


_COUNTED = ("rate", "95 % interval", "right", "asked", "unread")


def _counted(name: str, score: FamilyScore) -> tuple[str, ...]:
    low, high = score.interval
    numbers = (str(score.right), str(score.asked), str(score.unparsed))
    return name, _number(100 * score.rate), f"{100 * low:.1f} to {100 * high:.1f}", *numbers


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def to_text(report: Report) -> str:
    """For a terminal: aligned columns."""
    return "\n\n".join([*map(_text_table, tables(report)), "\n".join(f"note: {note}" for note in notes(report))])


def _text_table(table: Table) -> str:
    widths = [max(len(line[i]) for line in (table.head, *table.rows)) for i in range(len(table.head))]
    lines = []
    for line in (table.head, *table.rows):
        first, *others = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join([table.title, *lines])


def to_markdown(report: Report, figures: Sequence[str] = ()) -> str:
    """Tables and notes; ``figures`` are file names of pictures beside the document."""
    parts = ["# Runs compared"]
    for index, table in enumerate(tables(report)):
        lines = [_pipe(table.head), _pipe(["---", *["---:"] * (len(table.head) - 1)])]
        parts.append(f"## {table.title}\n\n" + "\n".join([*lines, *(_pipe(row) for row in table.rows)]))
        if index == 0:
            parts.append("\n".join(f"- {note}" for note in notes(report)))
            parts += [f"![{name}]({name})" for name in figures]
    return "\n\n".join(parts) + "\n"


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def to_html(report: Report, figures: Mapping[str, bytes] | None = None) -> str:
    """One page that needs no other file. ``figures``: words for a picture -> its SVG."""
    first, *others = (_html_table(table) for table in tables(report))
    drawn = "".join(
        f'<figure><img alt="{escape(words)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'
        f"<figcaption>{escape(words)}</figcaption></figure>\n"
        for words, svg in (figures or {}).items()
    )
    told = "".join(f"<p>{escape(note)}</p>\n" for note in notes(report))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>Runs compared</title>\n<style>{STYLE}{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>Runs compared</h1>\n{first}<div class="note">\n{told}</div>\n{drawn}{"".join(others)}'
        "</main>\n</body>\n</html>\n"
    )


_STYLE = """
td { text-align: right; min-width: 3rem; white-space: nowrap; }
thead th:not(:first-child) { text-align: right; }
tbody th { min-width: 11rem; }
figure { background: #ffffff; margin: 1.5rem 0; }
figure figcaption { color: #5d5d66; }
"""


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in table.rows
    )
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(table.title)}"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>'
        "</table></div></section>\n"
    )
