"""``sdvlm import``: a released SD-VLM checkpoint to our own layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def import_(
    folder: Annotated[str, typer.Argument(help="Released checkpoint: a folder or hub id.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist yet.", show_default=False)],
    mode: Annotated[
        str, typer.Option(help="official: depth pooled as released; aligned: over what each token sees.")
    ] = "official",
    base: Annotated[
        str | None,
        typer.Option(help="Base of an adapter folder; default: the one it names.", show_default=False),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Hub revision of the checkpoint.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write a released SD-VLM checkpoint, merged or as adapters, in the layout every other verb reads.

    Weights keep their bits; memory stays at that of the largest tensor. The depth network goes to OUT/depth.
    """
    from transformers.utils.logging import disable_progress_bar

    from sdvlm.models.load import MODES
    from sdvlm.models.official import import_official
    from sdvlm.types import SdvlmError

    if mode not in MODES:
        raise SdvlmError(f"no mode {mode!r}; choose one of {', '.join(MODES)}")
    if Path(folder).is_dir():
        disable_progress_bar()
    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    report = import_official(folder, out, MODES[mode], base=base, **hub)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
        return
    typer.echo(f"{out}: {report.tensors} tensors, {report.gigabytes:.2f} GB of {report.dtype}")
    if report.depth_tensors:
        typer.echo(f"{out}/depth: {report.depth_tensors} tensors of the depth network")
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
