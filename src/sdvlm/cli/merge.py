"""``sdvlm merge``: what a fine-tuning run left to a plain folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdvlm.cli.load import no_bars_for

__all__ = ["merge"]


def merge(
    run: Annotated[str, typer.Argument(help="What sdvlm train left: a folder or hub id.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist yet.", show_default=False)],
    base: Annotated[
        Path | None,
        typer.Option(help="Where the model it was trained on lies now; default: as the run says.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Work a run's adapters into the weights, so that it loads without PEFT and answers as fast as its base.

    The logits stay the same up to one rounding of each merged weight. OUT appears whole or not at all.
    """
    from sdvlm.models.run_folder import merge_run

    no_bars_for(run)
    layers = merge_run(run, out, base)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    if as_json:
        typer.echo(json.dumps({"run": run, "out": str(out), "layers": layers, "bytes": size}))
        return
    typer.echo(f"{out}: adapters of {layers} layers merged, {size / 1e9:.2f} GB")
