"""``sdvlm pairs``: pictures, data sets, shards or RGB-D frames into RGB-D pairs; resumable, on a core or a cluster."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdvlm.cli.options import PassingLine, key_values, naming_full_disk, plain_value, refuse_unless_resumed

if TYPE_CHECKING:
    from sdvlm.pairs.augment import AugmentConfig
    from sdvlm.pairs.build import PairsResult
    from sdvlm.pairs.source_reading import Reading

__all__ = ["pairs"]

_LISTED = 20


class DepthFrom(StrEnum):
    """Where depth comes from."""

    AUTO = "auto"
    SENSOR = "sensor"
    ESTIMATED = "estimated"


class Kind(StrEnum):
    """What depth numbers mean."""

    METRIC = "metric"
    RELATIVE = "relative"
    DISPARITY = "disparity"


class Animated(StrEnum):
    """What becomes of animations."""

    REFUSE = "refuse"
    FIRST = "first"


class Engine(StrEnum):
    """Where pairs are made."""

    LOCAL = "local"
    PROCESSES = "processes"
    RAY = "ray"


def pairs(
    source: Annotated[str, typer.Argument(help="Folder of pictures, parquet, WebDataset, RGB-D scenes, or a hub id.")],
    out: Annotated[Path, typer.Argument(help="Folder to build into; made if needed.", show_default=False)],
    estimator: Annotated[
        str | None,
        typer.Option(metavar="ID", help="For pictures without depth: short name, hub id or folder; none: refuse them."),
    ] = None,
    depth: Annotated[DepthFrom, typer.Option(help="auto: the source's own where it has some.")] = DepthFrom.AUTO,
    kind: Annotated[Kind | None, typer.Option(help="Of the estimator, if its config does not tell.")] = None,
    revision: Annotated[str | None, typer.Option(help="Of the estimator on the hub.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="Of the estimator; default: cuda if there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="Of the estimator while running.")] = "float32",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures estimated at once; default: 8 on an accelerator, else 2.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help="folder, table, webdataset, frames, scannet ...; default: by what is there.")
    ] = None,
    reader_option: Annotated[
        list[str] | None, typer.Option("--reader-option", metavar="KEY=VALUE", help="Of RGB-D scenes: frame_step=10.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Of the picture; default: found.", show_default=False)] = None,
    depth_column: Annotated[str | None, typer.Option(help="Of sensor depth.", show_default=False)] = None,
    split: Annotated[str | None, typer.Option(help="Of the source; default: all.", show_default=False)] = None,
    scene: Annotated[str | None, typer.Option(help="Column of scenes, or 'folder': a folder is one scene.")] = None,
    subset: Annotated[str | None, typer.Option(help="Configuration of a hub data set.", show_default=False)] = None,
    camera: Annotated[
        str | None, typer.Option(metavar="FX,FY,CX,CY,WIDTH,HEIGHT", help="Of all pictures, as OpenCV counts.")
    ] = None,
    depth_kind: Annotated[Kind | None, typer.Option(help="Of stored depth, if it does not tell.")] = None,
    depth_scale: Annotated[
        float | None, typer.Option(help="Metres a unit of stored depth.", show_default=False)
    ] = None,
    resize_depth: Annotated[bool, typer.Option("--resize-depth", help="Accept stored depth of another size.")] = False,
    animated: Annotated[Animated, typer.Option(help="Refuse animations, or take the first picture.")] = Animated.REFUSE,
    max_side: Annotated[int, typer.Option(min=0, help="Shrink pictures longer than this; 0: never.")] = 1024,
    quality: Annotated[int, typer.Option(min=0, max=100, help="Of JPEG where one is written; 0: PNG.")] = 95,
    dedupe: Annotated[int, typer.Option(min=-1, help="Bits by which near-duplicates may differ; -1: keep all.")] = 4,
    min_valid: Annotated[float, typer.Option(min=0, max=1, help="Share of pixels that must have depth.")] = 0.01,
    copies: Annotated[int, typer.Option(min=0, help="Augmented copies of each training pair.")] = 0,
    flip: Annotated[float, typer.Option(min=0, max=1, help="Chance that a copy is mirrored.")] = 0.0,
    quarter_turn: Annotated[float, typer.Option(min=0, max=1, help="Chance of a turn by 90 to 270 degrees.")] = 0.0,
    rotate: Annotated[float, typer.Option(min=0, max=45, help="Turn by up to so many degrees.")] = 0.0,
    crop: Annotated[str, typer.Option(metavar="MIN,MAX", help="Share of both sides that is kept.")] = "1,1",
    scale: Annotated[str, typer.Option(metavar="MIN,MAX", help="Factor of the size.")] = "1,1",
    test_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the scenes (or pictures) held out.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Decides the split and the augmentation.")] = 0,
    chunk: Annotated[int, typer.Option(min=1, help="Pictures a worker gets at once.")] = 64,
    engine: Annotated[Engine, typer.Option(help="The result is the same.")] = Engine.LOCAL,
    workers: Annotated[int | None, typer.Option(min=1, help="Chunks worked on at once.", show_default=False)] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; default: start one here.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run stopped.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first picture that cannot be used.")] = False,
    allow_rejected: Annotated[
        bool, typer.Option("--allow-rejected", help="Exit with 0 even if pictures were rejected.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Make RGB-D pairs. Run again to go on; rejected.jsonl tells what could not be used and why."""
    from sdvlm.depth.estimator import DEFAULT_ESTIMATOR
    from sdvlm.engine import EngineConfig
    from sdvlm.pairs.build import build_pairs
    from sdvlm.pairs.config import PairsConfig
    from sdvlm.pairs.source import open_source
    from sdvlm.types import DepthKind, SdvlmError

    refuse_unless_resumed(out, resume)
    if estimator in ("none", "sensor"):
        if depth is DepthFrom.ESTIMATED:
            raise SdvlmError(f"--estimator {estimator} estimates nothing; leave it or --depth estimated out")
        depth, estimator = DepthFrom.SENSOR, None
    config = PairsConfig(
        depth=depth.value,
        estimator=estimator or DEFAULT_ESTIMATOR,
        revision=revision,
        kind=None if kind is None else DepthKind(kind.value),
        dtype=dtype,
        device=device,
        batch_size=batch_size,
        chunk=chunk,
        max_side=max_side or None,
        quality=quality,
        dedupe=None if dedupe < 0 else dedupe,
        min_valid=min_valid,
        copies=copies,
        augment=_augment(flip, quarter_turn, rotate, crop, scale),
        test_share=test_share,
        seed=seed,
    )
    opened = open_source(
        source,
        column=column,
        split=split,
        reader=reader,
        depth_column=depth_column,
        scene=scene,
        config=subset,
        reading=_reading(camera, depth_kind, depth_scale, resize_depth, animated),
        **{key: plain_value(value) for key, value in key_values(reader_option, "--reader-option").items()},
    )
    where = EngineConfig(engine.value, workers, address)
    with naming_full_disk(out), PassingLine() as line:

        def progress(_: str, done: int, rejected: int) -> None:
            line.show(f"{done} chunks, {rejected} pictures rejected")

        made = build_pairs(opened, out, config, where, strict=strict, progress=progress)
    if as_json:
        typer.echo(json.dumps(_document(made), indent=2))
    else:
        _print(made)
    if made.rejected and not allow_rejected:
        raise typer.Exit(1)


def _augment(flip: float, quarter_turn: float, rotate: float, crop: str, scale: str) -> AugmentConfig:
    from sdvlm.pairs.augment import AugmentConfig

    return AugmentConfig(flip, quarter_turn, rotate, _range(crop, "--crop"), _range(scale, "--scale"))


def _reading(
    camera: str | None, kind: Kind | None, scale: float | None, resize: bool, animated: Animated
) -> Reading | None:
    """How pictures and stored depth are read; None where all is as usual, which every source takes."""
    from sdvlm.pairs.decode import DecodeConfig
    from sdvlm.pairs.source_reading import Reading
    from sdvlm.types import DepthKind

    reading = Reading(
        decode=DecodeConfig(animated=animated.value),
        camera=None if camera is None else _camera(camera),
        depth_kind=None if kind is None else DepthKind(kind.value),
        depth_scale=scale,
        resize_depth=resize,
    )
    return None if reading == Reading() else reading


def _camera(text: str) -> Any:
    from sdvlm.types import Camera, SdvlmError

    try:
        fx, fy, cx, cy, width, height = (float(word) for word in text.split(","))
    except ValueError:
        raise SdvlmError(f"--camera wants FX,FY,CX,CY,WIDTH,HEIGHT in pixels; got '{text}'") from None
    return Camera.from_opencv(int(width), int(height), fx, fy, cx, cy)


def _range(text: str, flag: str) -> tuple[float, float]:
    from sdvlm.types import SdvlmError

    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        raise SdvlmError(f"{flag} wants MIN,MAX, two numbers; got '{text}'") from None
    return low, high


def _document(made: PairsResult) -> dict[str, Any]:
    manifest = made.manifest
    return {
        "out": str(made.out),
        "built": made.built,
        "kept": made.kept,
        "rejected": [{"pair_id": one.pair_id, "reason": one.reason} for one in made.rejected],
        "duplicates": made.duplicates,
        "skipped": manifest.settings["skipped"],
        "counts": manifest.counts,
        "files": [shard.path for shard in manifest.files],
    }


def _print(made: PairsResult) -> None:
    for split, counts in made.manifest.counts.items():
        scenes = f" of {counts['scenes']} scenes" if counts["scenes"] else ""
        copies = f" and {counts['copies']} augmented copies" if counts["copies"] else ""
        typer.echo(f"{split}: {counts['pairs']} pairs{scenes}{copies}; depth {', '.join(counts['kinds'])}")
    for one in made.rejected[:_LISTED]:
        typer.echo(f"rejected {one.reason}", err=True)
    if made.rejected:
        typer.echo(f"{len(made.rejected)} rejected, all listed in {made.out / 'rejected.jsonl'}", err=True)
    if made.duplicates:
        typer.echo(f"{made.duplicates} near-duplicates left out, listed in {made.out / 'duplicates.jsonl'}")
    for why, count in made.manifest.settings["skipped"].items():
        typer.echo(f"{count} files skipped: {why}", err=True)
    typer.echo(f"{made.out}: {made.built} chunks built, {made.kept} kept")
