"""``sdvlm nano train`` and ``sdvlm nano score``: the embedded model, made anew and measured."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["nano"]

nano = typer.Typer(
    add_completion=False, rich_markup_mode="rich", no_args_is_help=True, help="Train the embedded model, and score it."
)


@nano.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder of the run; an interrupted one goes on.")],
    arms: Annotated[
        list[str] | None,
        typer.Option(
            "--arm", metavar="ARM", help="with-depth, without-depth, min-max; repeat. Default: all.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Nano checkpoint to go on from: 'nano' or a folder. Default: fresh weights.", show_default=False
        ),
    ] = None,
    shards: Annotated[int | None, typer.Option(min=2, help="Shards of 192 pictures.", show_default=False)] = None,
    tower_share: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Share of them for the first stage.", show_default=False)
    ] = None,
    tower_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of the first stage; 0 with --start: its tower stays.", show_default=False),
    ] = None,
    naming_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of the second stage.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the third stage.", show_default=False)] = None,
    data_seed: Annotated[
        int | None,
        typer.Option(
            min=1_000_000, help="Seed of the first shard: which rooms are drawn. Default: 1000000.", show_default=False
        ),
    ] = None,
    keep_every: Annotated[
        int, typer.Option(min=0, help="Steps of the third stage, in hundreds, between checkpoints kept for a curve.")
    ] = 0,
    only_data: Annotated[bool, typer.Option("--only-data", help="Draw the rooms and stop.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw rooms, then train side by side.")] = 2,
    device: Annotated[str, typer.Option(help="torch device of the training.")] = "cpu",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile layers; needs a C++ compiler.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Make the nano model: rooms, tower, names, answers. Run again to go on where it stopped."""
    from dataclasses import replace

    from sdvlm.nano import NANO_FOLDER
    from sdvlm.nano.recipe import ARMS, Recipe, continued
    from sdvlm.nano.train import train_nano
    from sdvlm.types import SdvlmError

    chosen = tuple(arms or ARMS)
    if unknown := [arm for arm in chosen if arm not in ARMS]:
        raise SdvlmError(f"--arm is one of {', '.join(ARMS)}; got '{unknown[0]}'")
    given = {"shards": shards, "tower_share": tower_share, "tower_steps": tower_steps}
    given |= {"naming_steps": naming_steps, "steps": steps, "data_seed": data_seed}
    stated: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    recipe = Recipe()
    if start is not None:
        recipe = continued(recipe, str(NANO_FOLDER) if start == "nano" else start)
    recipe = replace(recipe, **stated, device=device, compiled=compiled, keep_every=keep_every)
    logging.getLogger("sdvlm").setLevel(logging.INFO)
    made = train_nano(recipe, out, () if only_data else chosen, workers)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "checkpoints": [str(place) for place in made]}))
        return
    for place in made:
        typer.echo(f"{place}: sdvlm ask PICTURE QUESTION --model {place}")


@nano.command()
def score(
    out: Annotated[Path, typer.Argument(help="Folder of a run of 'sdvlm nano train'.")],
    photographs: Annotated[
        Path | None,
        typer.Option(help="Built data of real pictures (sdvlm build) to ask about, too.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pictures.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that ask.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Ask every trained arm MSMU-Rooms: as it is, scaled, reworded, in other units, with poorer depth."""
    from sdvlm.nano.evaluate import evaluate, score_table

    logging.getLogger("sdvlm").setLevel(logging.INFO)
    scores = evaluate(out, photographs, limit, workers)
    typer.echo(json.dumps(scores) if as_json else score_table(scores))
