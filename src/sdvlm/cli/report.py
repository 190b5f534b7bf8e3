"""``sdvlm report``: runs side by side, and beside the published table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of sdvlm eval.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="Also write report.md, .html, .json and bars and radar as PNG and SVG.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare runs: rates by family with counts and intervals, beside the published rows."""
    from sdvlm.eval.report import make_report
    from sdvlm.eval.report_files import write_report
    from sdvlm.eval.report_text import to_text

    made = make_report(runs)
    if out is not None:
        for path in write_report(made, out):
            typer.echo(f"wrote {path}", err=True)
    typer.echo(json.dumps(made.to_dict(), indent=2, ensure_ascii=False) if as_json else to_text(made))
