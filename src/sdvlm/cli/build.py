"""``sdvlm build``: RGB-D scenes into MSMU-style questions with exact answers, resumable, on one core or a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdvlm.cli.options import PassingLine, key_values, naming_full_disk, plain_value, refuse_unless_resumed

if TYPE_CHECKING:
    from sdvlm.data.build import BuildResult, Helpers
    from sdvlm.data.build_config import BuildConfig
    from sdvlm.data.verify_build import Verification
    from sdvlm.scenes.reader import MissingFile

__all__ = ["build"]

_LISTED = 20


class Reader(StrEnum):
    """Layouts there are readers for."""

    SCANNET = "scannet"
    SCANNETPP = "scannetpp"
    SUNRGBD = "sunrgbd"
    RGBD = "rgbd"


class Engine(StrEnum):
    """Where scenes are built."""

    LOCAL = "local"
    PROCESSES = "processes"
    RAY = "ray"


def build(
    source: Annotated[Path, typer.Argument(help="Folder of scenes.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to build into; made if needed.", show_default=False)],
    reader: Annotated[Reader | None, typer.Option(help="Default: by the folder's content.", show_default=False)] = None,
    reader_option: Annotated[
        list[str] | None,
        typer.Option("--reader-option", metavar="KEY=VALUE", help="Of the reader: box=axis_aligned, frame_step=10 ..."),
    ] = None,
    frames: Annotated[int, typer.Option(min=0, help="Pictures of each scene, spread over it; 0: all.")] = 12,
    questions: Annotated[int, typer.Option(min=1, help="Questions of each picture, at most.")] = 28,
    units: Annotated[str, typer.Option(help="Units answers are given in: m,cm,mm,ft,in.")] = "m",
    distance: Annotated[str, typer.Option(help="Between objects: centres, surfaces or both.")] = "centres",
    min_scenes: Annotated[int, typer.Option(min=1, help="Ask only of categories found in so many scenes.")] = 1,
    test_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the scenes held out.")] = 0.1,
    reasoning: Annotated[float, typer.Option(min=0, max=1, help="Share of questions with a chain of thought.")] = 0.02,
    seed: Annotated[int, typer.Option(min=0, help="Decides every random choice.")] = 0,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="OpenAI-compatible, for the models below."),
    ] = None,
    reword: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A vision model that names objects; checked to be unique.")
    ] = None,
    writer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A vision model that writes chains of thought.")
    ] = None,
    grader: Annotated[str | None, typer.Option(metavar="MODEL", help="Grades them; only agreed ones are kept.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other setting, such as select.min_visibility=0.6."),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="The result is the same.")] = Engine.LOCAL,
    workers: Annotated[int | None, typer.Option(min=1, help="Scenes built at once.", show_default=False)] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; default: start one here.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run stopped.")] = True,
    verify: Annotated[bool, typer.Option("--verify", help="Work every answer out again, twice over.")] = False,
    allow_rejected: Annotated[
        bool, typer.Option("--allow-rejected", help="Exit with 0 even if scenes or frames were rejected.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Build training and test data from RGB-D scenes. Run again to go on; rejected.jsonl tells what failed."""
    from sdvlm.data.build import build as build_data
    from sdvlm.data.verify_build import verify_build
    from sdvlm.engine import EngineConfig
    from sdvlm.scenes.reader import open_reader

    refuse_unless_resumed(out, resume)
    given = {
        "frames_per_scene": str(frames) if frames else "null",
        "questions.per_frame": str(questions),
        "questions.units": units,
        "questions.distance": distance,
        "min_scenes": str(min_scenes),
        "test_share": str(test_share),
        "reasoning_share": str(reasoning),
        "seed": str(seed),
    }
    config = _config(given | key_values(settings, "--set"))
    options = {key: plain_value(value) for key, value in key_values(reader_option, "--reader-option").items()}
    scenes = open_reader(source, None if reader is None else reader.value, **options)
    _tell_missing(scenes.missing())
    where = EngineConfig(engine.value, workers, address)
    helpers = _helpers(endpoint, reword, writer, grader)
    with naming_full_disk(out), PassingLine() as line:

        def progress(scene_id: str, done: int, wanted: int) -> None:
            line.show(f"{done} of {wanted} scenes ({scene_id})", done == wanted)

        built = build_data(scenes, out, config, where, helpers=helpers, verify=verify, progress=progress)
    checked = verify_build(out) if verify and built.manifest is not None else None
    if as_json:
        typer.echo(json.dumps(_document(built, checked), indent=2))
    else:
        _print(built, checked)
    wrong = checked is not None and bool(checked.faults)
    if wrong or built.manifest is None or (built.rejected and not allow_rejected):
        raise typer.Exit(1)


def _helpers(url: str | None, reword: str | None, writer: str | None, grader: str | None) -> Helpers:
    """The models that were asked for."""
    from sdvlm.data.build import Helpers
    from sdvlm.data.reasoning_endpoint import ReasoningWriter
    from sdvlm.data.reword import Reworder
    from sdvlm.endpoint.config import EndpointConfig
    from sdvlm.eval.answers import parse_answer
    from sdvlm.types import SdvlmError

    if (writer is None) != (grader is None):
        raise SdvlmError("chains of thought need two models, --writer and --grader; give both or neither")
    models = {"reword": reword, "writer": writer, "grader": grader}
    asked = {name: EndpointConfig(model, url) for name, model in models.items() if model is not None}
    if url is not None and not asked:
        raise SdvlmError("--endpoint is for --reword, --writer and --grader; give one of them, or leave it out")
    return Helpers(
        namer=Reworder(asked["reword"]) if reword else None,
        reasoner=ReasoningWriter(asked["writer"], asked["grader"], parse_answer) if writer else None,
        settings={name: model for name, model in models.items() if model is not None},
    )


def _config(settings: dict[str, str]) -> BuildConfig:
    from sdvlm.data.build_config import BuildConfig

    return BuildConfig().with_settings(settings)


def _tell_missing(missing: Sequence[MissingFile]) -> None:
    """One table of what the scenes lack, before any work."""
    if not missing:
        return
    rows = [("scene", "missing", "needed for"), *((one.scene_id, one.path, one.purpose) for one in missing[:_LISTED])]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), err=True)
    if len(missing) > _LISTED:
        typer.echo(f"... and {len(missing) - _LISTED} files more", err=True)


def _document(built: BuildResult, checked: Verification | None) -> dict[str, Any]:
    manifest = built.manifest
    document: dict[str, Any] = {
        "out": str(built.out),
        "built": built.built,
        "kept": built.kept,
        "rejected": [one.to_dict() for one in built.rejected],
        "counts": {} if manifest is None else manifest.counts,
        "files": [] if manifest is None else [shard.path for shard in manifest.files],
    }
    if checked is not None:
        document["verified"] = {"pictures": checked.pictures, "questions": checked.questions, "faults": checked.faults}
    return document


def _print(built: BuildResult, checked: Verification | None) -> None:
    for split, counts in {} if built.manifest is None else built.manifest.counts.items():
        typer.echo(
            f"{split}: {counts['scenes']} scenes, {counts['pictures']} pictures, {counts['questions']} questions "
            f"in {counts['rows']} rows"
        )
    for one in built.rejected[:_LISTED]:
        place = one.scene_id if one.frame_id is None else f"{one.scene_id}, frame {one.frame_id}"
        typer.echo(f"rejected {place}: {one.reason}", err=True)
    if built.rejected:
        typer.echo(f"{len(built.rejected)} rejected, all listed in {built.out / 'rejected.jsonl'}", err=True)
    if checked is not None:
        typer.echo(
            f"verified {checked.questions} answers about {checked.pictures} pictures: {len(checked.faults)} wrong"
        )
        for fault in checked.faults[:_LISTED]:
            typer.echo(f"  {fault}", err=True)
    typer.echo(f"{built.out}: {built.built} scenes built, {built.kept} kept")
