"""``sdvlm bench``: the performance figures, side by side with a baseline in the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["bench"]


def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="answer, build, controls, dpe, families, nano, official, pairs, pretrain, render, startup, train."
        ),
    ],
    questions: Annotated[
        int | None, typer.Option(min=1, help="answer, nano, train: questions of the one picture (16; 28; 16 and 28).")
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Timed turns.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="controls: seeds of the toy task (2).")] = None,
    model: Annotated[str | None, typer.Option(help="controls: ask a model instead: 'nano', folder or id.")] = None,
    shape: Annotated[
        str | None, typer.Option(help="answer, train: size of the model: small, llava-1.5-7b, toy ... (small).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="answer, train: where the model runs (cpu).")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="build: of a build (8); pretrain: drawn (610).")] = None,
    data: Annotated[str | None, typer.Option(help="pretrain: a folder of sdvlm pairs (rooms are drawn).")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="pretrain: of each run (250).")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="build: of the larger number of processes (2).")] = None,
    peer: Annotated[bool, typer.Option("--peer", help="build: time a peer's work for each object beside it.")] = False,
    big: Annotated[
        bool, typer.Option("--big", help="build: memory at 1,000 scenes; pairs: at 10,000 pictures (minutes).")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON document to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure. Every result names the command, the hardware and the versions it was measured with."""
    from sdvlm.bench import BENCHES, run_bench

    what = BENCHES[name][1] if name in BENCHES else ""
    if what:
        typer.echo(f"measuring {what} ...", err=True)
    given = {
        "questions": questions,
        "repeats": repeats,
        "seeds": seeds,
        "model": model,
        "shape": shape,
        "device": device,
        "scenes": scenes,
        "data": data,
        "steps": steps,
        "workers": workers,
        "peer": peer or None,
        "big": big or None,
    }
    result = run_bench(name, **given)
    if out is not None:
        from sdvlm.bench.document import write_document

        write_document(result, out)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    """Figures a line each, tables as tables; where it was measured last."""
    for key, value in result.items():
        if key in ("bench", "command", "date", "hardware", "versions"):
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            typer.echo(f"{key}:")
            for row in value:
                typer.echo("  " + "  ".join(str(cell) for cell in row.values()))
        elif isinstance(value, dict):
            typer.echo(f"{key}:")
            for name, part in value.items():
                typer.echo(f"  {name}: {_inline(part)}")
        else:
            typer.echo(f"{key}: {value}")
    machine = result["hardware"]
    typer.echo(f"on {machine['cpu']}, {machine['cores']} cores, {machine['torch_threads']} torch threads")


def _inline(value: Any) -> str:
    return ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)
