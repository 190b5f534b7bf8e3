"""``sdvlm export``: built data in the formats of other trainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    out: Annotated[Path, typer.Argument(help="Folder that sdvlm build wrote.")],
    dest: Annotated[Path, typer.Argument(help="Folder to write into; made if needed.")],
    format: Annotated[str, typer.Option(help="llava, sharegpt (LLaMA-Factory) or messages (Hugging Face).")] = "llava",
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be given again.")] = None,
    per: Annotated[
        str | None, typer.Option(help="One conversation a picture or a question; default: as the rows are.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write built data as LLaVA or ShareGPT JSON or as messages, pictures and depth as files beside it."""
    from sdvlm.data.export import export as export_data

    written = export_data(out, dest, format, splits=split, per=per)  # type: ignore[arg-type]  # it checks both words
    if as_json:
        listed = [
            {"split": one.split, "path": str(one.path), "entries": one.entries, "pictures": one.pictures}
            for one in written
        ]
        typer.echo(json.dumps({"out": str(out), "format": format, "written": listed}))
        return
    for one in written:
        typer.echo(f"{one.path}: {one.entries} conversations about {one.pictures} pictures")
