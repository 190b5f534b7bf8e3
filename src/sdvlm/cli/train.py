"""``sdvlm train``: fine-tune a vision-language model with depth."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdvlm.cli.load import no_bars_for
from sdvlm.cli.options import key_values, model_folder, naming_full_disk, refuse_unless_resumed

if TYPE_CHECKING:
    from sdvlm.train.config import TrainConfig
    from sdvlm.train.run import Say, TrainResult

__all__ = ["train"]


class Engine(StrEnum):
    """Where a run's processes are."""

    LOCAL = "local"
    RAY = "ray"


def train(
    data: Annotated[str, typer.Argument(help="What to learn from: of sdvlm build, MSMU, LLaVA JSON, messages.")],
    out: Annotated[Path, typer.Argument(help="Folder of the run; an interrupted one goes on.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="sd-vlm-llava-1.5-7b, qwen2.5-vl-7b, qwen2.5-vl-3b-24gb, nano-cpu, or a YAML file.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or hub id to start from, or 'nano'.", show_default=False)
    ] = None,
    fusion: Annotated[
        str | None,
        typer.Option(help="How depth enters: dpe, pointmap, concat, ...; 'keep': the model's own.", show_default=False),
    ] = None,
    depth_encoder: Annotated[
        Path | None,
        typer.Option(help="Of sdvlm pretrain, for concat and encoder_add.", show_default=False),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            "--mix",
            metavar="PATH[,KEY=VALUE...]",
            help="Further data, as chat.json,weight=0.2,images=DIR; repeat.",
        ),
    ] = None,
    data_format: Annotated[
        str, typer.Option("--format", help="Of DATA: auto, built, msmu, llava or messages.")
    ] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any setting of the recipe: lr.fusion=1e-4, arguments.max_steps=100."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would train, one sample and its picture, and stop.")
    ] = False,
    engine: Annotated[
        Engine, typer.Option(help="local: this process, or those of torchrun or accelerate launch; ray: a cluster.")
    ] = Engine.LOCAL,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on Ray.", show_default=False)] = None,
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster; default: start one here.")] = None,
    gpus_per_worker: Annotated[int, typer.Option(min=0, help="Of each process on Ray; 0: on CPUs.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run stopped.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fine-tune a vision-language model with depth: LoRA, all questions of a picture behind one prefix."""
    if not dry_run:
        refuse_unless_resumed(out, resume)
    _check_engine(engine, workers, address, gpus_per_worker)
    config = _config(data, data_format, recipe, model, fusion, depth_encoder, mix, settings)
    no_bars_for(config.model)
    started = time.monotonic()

    first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun one speaks for all

    def say(line: str) -> None:
        if first:
            typer.echo(f"{time.monotonic() - started:6.0f} s  {line}", err=True)

    if dry_run:
        _rehearse(config, out, say, as_json)
        return
    with naming_full_disk(out):
        if engine is Engine.RAY:
            from sdvlm.train.on_ray import train_on_ray

            result = train_on_ray(
                config, out, workers or 1, gpus=gpus_per_worker, address=address, say=say, resume=resume
            )
        else:
            from sdvlm.train.run import train as run

            result = run(config, out, say, resume=resume)
    if first:
        _tell(result, as_json)


def _config(
    data: str,
    data_format: str,
    recipe: str | None,
    model: str | None,
    fusion: str | None,
    depth_encoder: Path | None,
    mix: list[str] | None,
    settings: list[str] | None,
) -> TrainConfig:
    from sdvlm.train.config import DataSettings, TrainConfig
    from sdvlm.train.recipe import mixture_part, named, read_recipe, with_settings

    config = TrainConfig() if recipe is None else read_recipe(recipe)
    encoder = None if depth_encoder is None else str(depth_encoder)
    config = named(config, model=model, fusion=fusion, depth_encoder=encoder)
    parts = (DataSettings(data, data_format), *(mixture_part(one) for one in mix or ()))
    config = replace(config, data=parts, model=model_folder(config.model))
    return with_settings(config, key_values(settings, "--set", "NAME=VALUE"))


def _rehearse(config: TrainConfig, out: Path, say: Say, as_json: bool) -> None:
    from sdvlm.train.rehearse import rehearse

    shown = rehearse(config, out, say)
    typer.echo(json.dumps(shown.to_dict(), indent=2) if as_json else shown.text)


def _tell(result: TrainResult, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"out": str(result.out), "resumed": result.resumed, **result.summary}, indent=2))
    else:
        typer.echo(f"{result.summary['text']}\nask it: sdvlm ask IMAGE QUESTION --model {result.out}")


def _check_engine(engine: Engine, workers: int | None, address: str | None, gpus: int) -> None:
    from sdvlm.types import SdvlmError

    if engine is Engine.LOCAL and (workers is not None or address is not None or gpus):
        raise SdvlmError(
            "--workers, --address and --gpus-per-worker are for --engine ray; "
            "several processes here: torchrun --nproc-per-node N -m sdvlm train ..."
        )
