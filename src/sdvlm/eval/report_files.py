"""A report as files: tables, page, figures, values."""

from __future__ import annotations

from pathlib import Path

from sdvlm.depth.atomic import atomic_file
from sdvlm.eval.figures import draw
from sdvlm.eval.report import Report
from sdvlm.eval.report_text import to_html, to_markdown
from sdvlm.eval.run_folder import write_json

__all__ = ["write_report"]

_WORDS = {
    "bars": "Right answers by family, with 95 % intervals",
    "radar": "Right answers by family; the rim is the largest rate drawn, rounded up",
}


def write_report(report: Report, folder: Path) -> list[Path]:
    """``report.json``, ``report.md``, ``report.html``, and ``bars`` and ``radar`` as PNG and SVG, unless
    all is about general questions. Returns the paths.

    Raises:
        SdvlmError: matplotlib is not installed.
    """
    drawn = draw(report, folder) if report.runs else []
    figures = {_WORDS[path.stem]: path.read_bytes() for path in drawn if path.suffix == ".svg"}
    texts = {
        "report.md": to_markdown(report, [path.name for path in drawn if path.suffix == ".svg"]),
        "report.html": to_html(report, figures),
    }
    write_json(report.to_dict(), folder / "report.json")
    for name, text in texts.items():
        with atomic_file(folder / name) as stream:
            stream.write(text.encode())
    return [folder / "report.json", *(folder / name for name in texts), *drawn]
