"""One self-contained HTML page of pictures, questions and answers: no file beside it, nothing fetched, no script."""

from sdvlm.page.html import Cell, Figure, Page, Row, Section, Table, write_page

__all__ = ["Cell", "Figure", "Page", "Row", "Section", "Table", "write_page"]
