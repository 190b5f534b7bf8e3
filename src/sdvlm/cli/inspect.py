"""``sdvlm inspect``: look through built data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["inspect"]


def inspect(
    out: Annotated[Path, typer.Argument(help="Folder that sdvlm build wrote.")],
    page: Annotated[Path | None, typer.Option(help="Page to write; default: inspect.html in the folder.")] = None,
    limit: Annotated[int, typer.Option(help="Pictures to show.")] = 24,
    seed: Annotated[int, typer.Option(help="Of the random draw of pictures.")] = 0,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be given again.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the statistics as one JSON document.")] = False,
) -> None:
    """Write a page with the statistics of built data and samples with their boxes drawn; it needs no network."""
    from sdvlm.inspect import write_inspection
    from sdvlm.types import SdvlmError

    if page is not None and page.is_dir():
        raise SdvlmError(f"{page} is a folder; give a file to write, such as {page / 'inspect.html'}")
    seen = write_inspection(out, page or out / "inspect.html", splits=split, limit=limit, seed=seed)
    if as_json:
        typer.echo(json.dumps(seen.to_dict()))
        return
    for name, counts in seen.statistics.families.items():
        held = seen.manifest.counts[name]
        typer.echo(f"{name}: {counts.total()} questions about {held['pictures']} pictures of {held['scenes']} scenes")
    typer.echo(f"{seen.page}: {len(seen.statistics.chosen)} pictures to look at")
