"""``sdvlm ablate``: the depth papers' ablation on the nano model, resumable cell by cell."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdvlm.cli.options import key_values, refuse_unless_resumed

if TYPE_CHECKING:
    from sdvlm.ablation.run import AblationResult

__all__ = ["ablate"]


def ablate(
    out: Annotated[Path, typer.Argument(help="Folder of the ablation; an interrupted one goes on.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", "--cells", metavar="NAME", help="Cells to run; repeat, or a,b,c.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of every cell.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of a cell.", show_default=False)] = None,
    pictures: Annotated[int | None, typer.Option(min=1, help="Pictures a step.", show_default=False)] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Questions of each picture in a step.", show_default=False)
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="bfloat16 or float32: arithmetic in training.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other setting, such as train_rooms=128."),
    ] = None,
    encoder_10: Annotated[
        Path | None, typer.Option("--encoder-10", help="Depth encoder of sdvlm pretrain on 10 % of the pairs.")
    ] = None,
    encoder_100: Annotated[Path | None, typer.Option("--encoder-100", help="The same, on all of them.")] = None,
    model: Annotated[str, typer.Option(help="'nano', or a folder of a model of its kind.")] = "nano",
    workers: Annotated[int, typer.Option(min=1, help="Cells run side by side.")] = 1,
    cost_turns: Annotated[int, typer.Option(min=0, help="Timed steps of every cell; 0: the cost is not measured.")] = 7,
    chart: Annotated[bool, typer.Option(help="Draw ablation.png (needs matplotlib).")] = True,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run stopped.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Train the nano model under every way depth can enter, with equal data, steps and seeds, and print the table."""
    from sdvlm.ablation.config import AblationConfig
    from sdvlm.ablation.run import ablate as run
    from sdvlm.engine import EngineConfig

    refuse_unless_resumed(out, resume)
    plain = {"seeds": seeds, "steps": steps, "pictures": pictures, "questions": questions, "dtype": dtype}
    given = {name: str(value) for name, value in plain.items() if value is not None}
    given |= key_values(settings, "--set", "FIELD=VALUE")
    names = [name for word in only or () for name in word.split(",") if name]
    started = time.monotonic()

    def progress(line: str) -> None:
        typer.echo(f"{time.monotonic() - started:6.0f} s  {line}", err=True)

    result = run(
        out,
        AblationConfig().with_settings(given),
        only=names or None,
        encoders={share: folder for share, folder in ((10, encoder_10), (100, encoder_100)) if folder is not None},
        model=None if model == "nano" else Path(model),
        engine=EngineConfig("local") if workers == 1 else EngineConfig("processes", workers),
        cost_turns=cost_turns,
        command=_command(names, given, {10: encoder_10, 100: encoder_100}, model, workers),
        progress=progress,
    )
    if chart:
        from sdvlm.ablation.chart import draw

        draw(result.document, out / "ablation.png")
    typer.echo(json.dumps(_document(result), indent=2) if as_json else _table(result))
    for name, reason in result.failed.items():
        typer.echo(f"{name} failed: {reason}", err=True)
    if result.failed:
        raise typer.Exit(1)


def _command(
    names: list[str], given: dict[str, str], encoders: dict[int, Path | None], model: str, workers: int
) -> str:
    """What was asked for, without this machine's paths."""
    words = ["sdvlm ablate OUT", *(f"--set {name}={value}" for name, value in given.items())]
    words += [f"--only {','.join(names)}"] if names else []
    words += [f"--encoder-{share} ENCODER_{share}" for share, folder in encoders.items() if folder is not None]
    words += ["--model MODEL"] if model != "nano" else []
    return " ".join([*words, f"--workers {workers}"])


def _document(result: AblationResult) -> dict[str, Any]:
    return {"out": str(result.out), "failed": result.failed, **result.document}


def _table(result: AblationResult) -> str:
    from sdvlm.ablation.table import markdown

    return markdown(result.document)
