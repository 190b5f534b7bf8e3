"""``sdvlm pretrain``: RGB-D pairs and a frozen RGB tower into a depth encoder, resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdvlm.cli.options import PassingLine, key_values, model_folder, naming_full_disk

if TYPE_CHECKING:
    from sdvlm.pretrain.config import PretrainConfig
    from sdvlm.pretrain.result import PretrainResult

__all__ = ["pretrain"]


class Objective(StrEnum):
    """What is learned from a pair."""

    DEFAULT = "default"
    INFONCE = "infonce"
    COMAE = "comae"


class FalseNegatives(StrEnum):
    """What is done with frames of one scene in a batch."""

    AVOID = "avoid"
    MASK = "mask"
    KEEP = "keep"


class Dtype(StrEnum):
    """Number format of the towers while running."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def pretrain(
    data: Annotated[Path, typer.Argument(help="Folder that sdvlm pairs wrote.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder of the run; made if needed.", show_default=False)],
    rgb: Annotated[
        str, typer.Option(help="The frozen RGB tower: 'nano', a folder or hub id of a vision model or of a VLM.")
    ] = "nano",
    objective: Annotated[
        Objective, typer.Option(help="infonce is the contrast alone: nothing in it keeps metric scale.")
    ] = Objective.DEFAULT,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; default: by --epochs.")] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the pairs.")] = 10.0,
    batch: Annotated[int, typer.Option(min=2, help="Pairs contrasted with each other.")] = 256,
    chunk: Annotated[int, typer.Option(min=1, help="Pairs in memory at once; the gradient is the batch's.")] = 64,
    lr: Annotated[float, typer.Option(help="Of new parts.")] = 1e-4,
    tower_lr: Annotated[float | None, typer.Option(help="Of the cloned tower; default: a tenth of --lr.")] = None,
    temperature: Annotated[float, typer.Option(help="Of InfoNCE.")] = 0.07,
    learn_temperature: Annotated[bool, typer.Option("--learn-temperature", help="Start there and learn it.")] = False,
    patch_weight: Annotated[float, typer.Option(min=0, help="Of the contrast between a picture's patches.")] = 0.0,
    reconstruction_weight: Annotated[
        float, typer.Option(min=0, help="Of masked log-depth reconstruction; 0 leaves the scale to chance.")
    ] = 1.0,
    false_negatives: Annotated[
        FalseNegatives, typer.Option(help="Frames of one scene in a batch.")
    ] = FalseNegatives.AVOID,
    share: Annotated[float, typer.Option(help="Share of the training pairs that is used.")] = 1.0,
    dtype: Annotated[Dtype, typer.Option(help="bfloat16: autocast of the towers.")] = Dtype.FLOAT32,
    device: Annotated[str | None, typer.Option(help="Default: a GPU where there is one.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every random choice.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pairs.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other setting, such as pool=4 or flip=0.5."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in OUT.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Train a depth encoder on RGB-D pairs. Run again to go on; for several processes see docs/pretrain.md."""
    from sdvlm.pretrain.config import PretrainConfig
    from sdvlm.pretrain.run import pretrain as train

    given = PretrainConfig(
        rgb=model_folder(rgb),
        objective=objective.value,
        steps=steps,
        epochs=epochs,
        batch=batch,
        chunk=chunk,
        lr=lr,
        tower_lr=tower_lr,
        temperature=temperature,
        learn_temperature=learn_temperature,
        patch_weight=patch_weight,
        reconstruction_weight=reconstruction_weight,
        false_negatives=false_negatives.value,
        share=share,
        dtype=dtype.value,
        device=device,
        seed=seed,
        workers=workers,
    )
    config: PretrainConfig = given.with_settings(key_values(settings, "--set", "FIELD=VALUE"))
    with naming_full_disk(out), PassingLine() as line:
        result = train(data, out, config, _shown_on(line), resume=resume)
    if os.environ.get("RANK", "0") != "0":  # of several processes, the first one speaks
        return
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _print(result)


def _shown_on(line: PassingLine) -> Callable[[str, int, int, dict[str, float]], None]:
    """A line that passes for steps, one that stays for evaluations."""

    def progress(kind: str, done: int, wanted: int, figures: dict[str, float]) -> None:
        if kind == "cache":
            line.show(f"{done} of {wanted} pictures through the RGB tower", done == wanted)
        elif kind == "train":
            plain = {name: value for name, value in figures.items() if name not in ("lr", "gradient_norm")}
            line.show(f"step {done} of {wanted}: {' '.join(f'{name} {value:.4g}' for name, value in plain.items())}")
        else:
            line.show(f"step {done} of {wanted}: {_figures(figures)}", True)

    return progress


def _figures(figures: dict[str, float]) -> str:
    retrieved = (
        f"R@1 {figures['depth_to_rgb_r1']:.3f} depth to RGB, {figures['rgb_to_depth_r1']:.3f} back "
        f"(R@5 {figures['depth_to_rgb_r5']:.3f}, {figures['rgb_to_depth_r5']:.3f}; "
        f"chance {figures['retrieval_chance']:.4f} of {figures['retrieval_pairs']:.0f})"
    )
    probes = [f"{name} {figures[key]:.3f}" for name, key in _PROBES.items() if key in figures]
    return f"{retrieved}; log-depth R2: {', '.join(probes) or 'none'}; rank {figures['effective_rank_trunk']:.1f}"


_PROBES = {
    "trunk": "trunk_r2",
    "trunk at random scales": "trunk_scale_r2",
    "embedding": "embedding_r2",
    "embedding at random scales": "embedding_scale_r2",
}


def _print(result: PretrainResult) -> None:
    typer.echo(f"start: {_figures(result.start)}")
    typer.echo(f"now:   {_figures(result.final)}")
    for line in result.faults.values():
        typer.echo(f"warning: {line}", err=True)
    data = result.data
    typer.echo(
        f"{result.encoder}: {result.parameters / 1e6:.1f} M parameters, {result.steps} steps on "
        f"{data['train_pairs']} pairs of {data['train_scenes']} scenes, {result.pairs_per_second:.1f} pairs a second"
    )
