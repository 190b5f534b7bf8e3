"""What the page holds, as values, and the one function that turns them into HTML.

Every text is escaped, every picture is embedded as base64, so the file can be mailed, opened offline, and is safe
whatever a user asked or a model answered.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.depth.atomic import atomic_file
from sdvlm.page.style import STYLE

__all__ = ["Cell", "Figure", "Page", "Row", "Section", "Table", "picture_uri", "write_page"]


@dataclass(frozen=True, eq=False)
class Figure:
    """A picture with its name, a caption, and what it shows in words for who cannot see it.

    Args:
        title: short name.
        image: (H, W, 3) uint8 sRGB.
        caption: one or two sentences.
        alt: the picture in words.
    """

    title: str
    image: NDArray[np.uint8]
    caption: str
    alt: str


@dataclass(frozen=True)
class Cell:
    """An answer, and whether it is right where that is known."""

    text: str
    right: bool | None = None


@dataclass(frozen=True)
class Row:
    """A question, what kind it is (may be empty), and one cell for each answer column."""

    question: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Questions and their answers under a heading.

    Args:
        columns: heads, the question's first; one more than a row has cells.
        rows: without any, the table is left out.
        totals: last line, one text a column; empty for none.
        heading: what the questions have in common.
        lead: what to look for, a sentence or two, or nothing.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    totals: Sequence[str] = ()
    heading: str = "Questions and answers"
    lead: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, and a block of commands or code that may be empty; ``warning`` sets it off."""

    heading: str
    paragraphs: tuple[str, ...]
    code: str = ""
    warning: bool = False


@dataclass(frozen=True, eq=False)
class Page:
    """All of a page, in the order it is shown.

    Args:
        title: of the page and its first heading.
        lead: what the reader is looking at, one or two sentences.
        figures: pictures.
        tables: questions and answers.
        sections: what follows.
        footer: what made this page.
    """

    title: str
    lead: str
    figures: Sequence[Figure]
    tables: Sequence[Table] = ()
    sections: Sequence[Section] = ()
    footer: str = ""

    def to_html(self) -> str:
        """The whole page as one HTML document."""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<link rel="icon" href="data:,">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
            f'<header><h1>{escape(self.title)}</h1>\n<p class="lead">{escape(self.lead)}</p></header>\n'
            f'<div class="figures">\n{"".join(map(_figure, self.figures))}</div>\n'
            f"{''.join(map(_table, self.tables))}{''.join(map(_section, self.sections))}"
            f"<footer>{escape(self.footer)}</footer>\n</main>\n</body>\n</html>\n"
        )


def write_page(page: Page, path: Path) -> Path:
    """Write the page whole or not at all; the folder is made. Returns the path."""
    with atomic_file(path) as stream:
        stream.write(page.to_html().encode("utf-8"))
    return path


def _figure(figure: Figure) -> str:
    height, width = figure.image.shape[:2]
    return (
        f'<figure><img src="{picture_uri(figure.image)}" width="{width}" height="{height}" alt="{escape(figure.alt)}">'
        f"<figcaption><strong>{escape(figure.title)}.</strong> {escape(figure.caption)}</figcaption></figure>\n"
    )


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    heading = escape(table.heading)
    lead = f"<p>{escape(table.lead)}</p>\n" if table.lead else ""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    foot = ""
    if table.totals:
        first, *rest = (escape(total) for total in table.totals)
        cells = "".join(f"<td>{total}</td>" for total in rest)
        foot = f'<tfoot><tr><th scope="row">{first}</th>{cells}</tr></tfoot>\n'
    return (
        f'<section><h2>{heading}</h2>\n{lead}<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{heading}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(map(_row, table.rows))}</tbody>\n{foot}"
        "</table></div></section>\n"
    )


def _row(row: Row) -> str:
    kind = f'<span class="kind">{escape(row.kind)}</span>' if row.kind else ""
    return f'<tr><th scope="row">{escape(row.question)}{kind}</th>{"".join(map(_cell, row.cells))}</tr>\n'


def _cell(cell: Cell) -> str:
    if cell.right is None:
        return f"<td>{escape(cell.text)}</td>"
    name, sign = ("right", "✓") if cell.right else ("wrong", "✗")
    verdict = f'<span class="verdict {name}"><span aria-hidden="true">{sign}</span> {name}</span>'
    return f"<td>{escape(cell.text)} {verdict}</td>"


def _section(section: Section) -> str:
    body = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in section.paragraphs)
    if section.warning:
        body = f'<div class="note">{body}</div>\n'
    code = f"<pre><code>{escape(section.code)}</code></pre>\n" if section.code else ""
    return f"<section><h2>{escape(section.heading)}</h2>\n{body}{code}</section>\n"


def picture_uri(image: NDArray[np.uint8], quality: int = 92) -> str:
    """JPEG at full colour resolution: a fifth of a PNG's size for pictures with shading, and fast to make."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "jpeg", quality=quality, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
