"""``sdvlm eval``: a benchmark, asked and scored, resumable at any moment."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdvlm.cli.options import PassingLine

if TYPE_CHECKING:
    from sdvlm.eval.run import RunSummary
    from sdvlm.eval.run_source import Source

__all__ = ["evaluate"]


class Bench(StrEnum):
    """What there is to ask."""

    MSMU = "msmu"
    ROOMS = "rooms"
    BUILT = "built"
    GENERAL = "general"


class OnBroken(StrEnum):
    """What to do with a row that cannot be read."""

    REFUSE = "refuse"
    SKIP = "skip"


_MAX_NEW_TOKENS = {Bench.MSMU: 256, Bench.ROOMS: 64, Bench.BUILT: 64, Bench.GENERAL: 64}


def evaluate(
    bench: Annotated[Bench, typer.Argument(help="msmu, rooms (MSMU-Rooms, embedded), built (your own), or general.")],
    out: Annotated[Path, typer.Option(help="Run folder; an interrupted run there goes on.", show_default=False)],
    model: Annotated[str, typer.Option(help="'nano', a model folder or a hub id.")] = "nano",
    data: Annotated[
        Path | None,
        typer.Option(help="msmu: as published; built: of sdvlm build; general: LLaVA JSON, messages."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="general: folder of the pictures; default: beside the data.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of the data.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask only so many questions (default: all).", show_default=False)
    ] = None,
    depth: Annotated[
        str,
        typer.Option(
            help="auto (the model's own network, else the data's), none, or an estimator.", metavar="auto|none|ID"
        ),
    ] = "auto",
    conversation: Annotated[
        str | None,
        typer.Option(help="vicuna_v1, none or chat; default: the checkpoint's.", show_default=False),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="SD-VLM models: official or aligned; default: the checkpoint's.", show_default=False),
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Ask again with depth withheld, and with another picture's depth.")
    ] = False,
    scaled: Annotated[
        bool, typer.Option("--scaled", help="rooms, built: all depth and lengths times a factor no picture shows.")
    ] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer (msmu: 256, others: 64).", show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions decoded together.")] = 64,
    on_broken: Annotated[OnBroken, typer.Option(help="msmu, general: rows that cannot be read.")] = OnBroken.REFUSE,
    device: Annotated[
        str | None,
        typer.Option(help="torch device; default the CPU for nano, else the first accelerator.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Ask a model a benchmark's questions, behind one shared prefix a picture, and score the answers by rules."""
    from sdvlm.cli.load import load_quietly
    from sdvlm.eval.run import run
    from sdvlm.eval.run_asker import Asker, DepthSource

    source = _source(bench, data, split, limit, on_broken, images, scaled)
    vlm, processor = load_quietly(model, device, mode, conversation)
    in_data = bench in (Bench.ROOMS, Bench.BUILT) or getattr(source, "has_depth", False)
    chosen = DepthSource.choose(depth, processor, in_data=in_data, device=device)
    asker = Asker(vlm, processor, chosen, max_new_tokens or _MAX_NEW_TOKENS[bench], batch_size)
    with PassingLine() as line:
        summary = run(source, asker, out, model, controls, lambda done, wanted: _progress(line, done, wanted))
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    else:
        _print(summary, source.scorer)


_DATA = {
    Bench.MSMU: "the folder or file that the data set was published as",
    Bench.BUILT: "OUT of sdvlm build",
    Bench.GENERAL: "LLaVA JSON or messages with short answers",
}


def _source(
    bench: Bench,
    data: Path | None,
    split: str,
    limit: int | None,
    on_broken: OnBroken,
    images: Path | None,
    scaled: bool,
) -> Source:
    from sdvlm.eval.built_source import BuiltSource
    from sdvlm.eval.run_source import MsmuSource
    from sdvlm.types import SdvlmError

    if images is not None and bench is not Bench.GENERAL:
        raise SdvlmError(f"--images is for general data; leave it out for {bench.value}")
    if scaled and bench not in (Bench.ROOMS, Bench.BUILT):
        raise SdvlmError(f"--scaled needs depth and lengths that are known: rooms or built; got {bench.value}")
    of_built: type[BuiltSource] = BuiltSource
    if scaled:
        from sdvlm.eval.scaled_source import ScaledSource as of_built
    name = f"scaled {bench.value}" if scaled else bench.value
    if bench is Bench.ROOMS:
        from sdvlm.eval.msmu_rooms import msmu_rooms

        if data is not None:
            raise SdvlmError("rooms is the embedded MSMU-Rooms; leave --data out, or ask your own data: eval built")
        return of_built(msmu_rooms(), "test", limit, name)
    if data is None:
        raise SdvlmError(f"{bench.value} needs --data: {_DATA[bench]}")
    if bench is Bench.GENERAL:
        from sdvlm.eval.general_source import GeneralSource

        return GeneralSource(data, split, limit, "" if images is None else str(images), on_broken.value)
    if bench is Bench.BUILT:
        return of_built(data, split, limit, name)
    return MsmuSource.open(data, split, limit, on_broken.value)


def _progress(line: PassingLine, done: int, wanted: int) -> None:
    line.show(f"{done} of {wanted} answers", stays=done == wanted)


def _print(summary: RunSummary, scorer: str) -> None:
    from sdvlm.eval.run_folder import CONTROLS
    from sdvlm.eval.run_scores import NOTES

    for arm, board in summary.scores.items():
        typer.echo(CONTROLS.get(arm, "as asked"))
        for family, score in board.families.items():
            typer.echo(f"  {family.value:<22}{_percent(score.to_dict())}  {score.right} of {score.asked}")
        if len(board.families) == 1:
            continue
        overall = board.overall
        typer.echo(f"  {'mean of the families':<22}{100 * board.macro:6.2f} %")
        typer.echo(f"  {'all questions':<22}{_percent(overall.to_dict())}  {overall.right} of {overall.asked}")
    typer.echo(f"note: {NOTES[scorer]}", err=True)
    typer.echo(f"{summary.answered} answered in {summary.seconds:.1f} s; run folder: {summary.out}", err=True)


def _percent(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    return f"{100 * score['rate']:6.2f} % ({100 * low:.1f} to {100 * high:.1f})"
