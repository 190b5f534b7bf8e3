"""``sdvlm ask``: questions about one picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sdvlm.answering import Reply
    from sdvlm.types import Camera, RgbdFrame


def ask(
    image: Annotated[Path, typer.Argument(help="The picture: JPEG, PNG, WebP or TIFF.", show_default=False)],
    questions: Annotated[list[str], typer.Argument(help="One or more; the picture is read once.", show_default=False)],
    depth: Annotated[
        str,
        typer.Option(help="Depth file, 'none', or an estimator: short name, hub id or folder.", metavar="FILE|none|ID"),
    ] = "none",
    depth_scale: Annotated[
        float | None,
        typer.Option(help="Metres per stored unit; default 0.001 for integers, 1 for floats.", show_default=False),
    ] = None,
    depth_kind: Annotated[
        str | None,
        typer.Option(
            help="metric, relative or disparity; default: what the file says, else metric.", show_default=False
        ),
    ] = None,
    depth_codec: Annotated[
        str | None,
        typer.Option(help="sunrgbd or spatialbot, for files in those codes.", show_default=False),
    ] = None,
    resize_depth: Annotated[
        bool, typer.Option("--resize-depth", help="Accept depth of another size that shows the same view.")
    ] = False,
    camera: Annotated[
        str | None,
        typer.Option(help="fx,fy,cx,cy in pixels (first pixel centre at 0,0), or a file.", show_default=False),
    ] = None,
    fov: Annotated[
        float | None,
        typer.Option(help="Horizontal field of view in degrees, instead of --camera.", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(help="'nano', a model folder or a hub id.")] = "nano",
    device: Annotated[
        str | None,
        typer.Option(help="torch device; default the CPU for nano, else the first accelerator.", show_default=False),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 48,
    page: Annotated[
        Path | None,
        typer.Option(help="Also write a self-contained HTML page there.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Answer questions about a picture, with depth or without; lengths are in metres."""
    from sdvlm.answering import ask as ask_model
    from sdvlm.cli.load import load_quietly

    frame = _load_frame(
        image,
        depth,
        camera,
        fov,
        device,
        reading={"kind": depth_kind, "scale_to_m": depth_scale, "codec": depth_codec, "resize_depth": resize_depth},
    )
    vlm, processor = load_quietly(model, device)
    replies = ask_model(vlm, processor, frame, questions, max_new_tokens)
    notes = _notes(frame, model)
    if page is not None:
        from sdvlm.demo.pages import ask_page
        from sdvlm.page import write_page

        write_page(ask_page(frame, replies, model, notes), page)
        typer.echo(f"page: {page}", err=True)
    if as_json:
        typer.echo(json.dumps(_document(image, frame, replies, model, notes), indent=2, ensure_ascii=False))
        return
    for reply in replies:
        typer.echo(f"{reply.question}\n  {reply.answer}")
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _load_frame(
    image: Path, depth: str, camera: str | None, fov: float | None, device: str | None, reading: dict[str, Any]
) -> RgbdFrame:
    """The picture with depth from where it was asked for, and the camera."""
    from dataclasses import replace

    from sdvlm.depth.frame import load_image, load_rgbd
    from sdvlm.types import Camera, SdvlmError

    if camera is not None and fov is not None:
        raise SdvlmError("got --camera and --fov, which both say where rays go; give one of them")
    known: Camera | str | None = camera
    if fov is not None:
        height, width = load_image(image).shape[:2]
        known = Camera.from_fov(width, height, fov)
    if depth == "none" or _is_file(depth):
        return load_rgbd(image, None if depth == "none" else Path(depth), known, **reading)
    given = [_READING_OPTIONS[name] for name, value in reading.items() if value]
    if given:
        raise SdvlmError(f"{', '.join(given)} is for depth files, and {depth!r} is an estimator; leave it out")
    frame = load_rgbd(image, camera=known)
    estimate = _estimate(depth, frame, device)
    return replace(frame, depth=estimate.depth, camera=frame.camera or estimate.camera)


_READING_OPTIONS = {
    "kind": "--depth-kind",
    "scale_to_m": "--depth-scale",
    "codec": "--depth-codec",
    "resize_depth": "--resize-depth",
}
_DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".json", ".exr", ".pgm", ".jpg", ".jpeg")


def _is_file(depth: str) -> bool:
    """A file that is there, or a name that can only be meant as one (then reading says that it is missing)."""
    path = Path(depth)
    return path.is_file() or (not path.exists() and path.suffix.lower() in _DEPTH_SUFFIXES)


def _estimate(source: str, frame: RgbdFrame, device: str | None) -> Any:
    from sdvlm.depth.cache import estimate_cached
    from sdvlm.depth.estimator import load_estimator

    return estimate_cached(load_estimator(source, device=device), [frame.image], [frame.camera])[0]


def _notes(frame: RgbdFrame, model: str) -> list[str]:
    """What the reader of the answers has to know."""
    from sdvlm.answering import NANO, NANO_NOTE

    notes = []
    if frame.depth is None:
        notes.append("without depth: lengths are guesses from the picture alone; give --depth FILE or an estimator")
    elif frame.camera is None:
        notes.append("without a camera: depth is known but not where each pixel's ray goes; give --camera or --fov")
    if model == NANO:
        notes.append(NANO_NOTE)
    return notes


def _document(image: Path, frame: RgbdFrame, replies: list[Reply], model: str, notes: list[str]) -> dict[str, Any]:
    """The JSON document that ``--json`` prints."""
    width, height = frame.size
    return {
        "answers": [reply.to_dict() for reply in replies],
        "model": model,
        "image": {"path": str(image), "width": width, "height": height},
        "depth": _depth_facts(frame),
        "camera": None if frame.camera is None else _camera_facts(frame.camera),
        "notes": notes,
    }


def _depth_facts(frame: RgbdFrame) -> dict[str, Any] | None:
    if frame.depth is None:
        return None
    known = frame.depth.values[frame.depth.valid]
    metric = frame.depth.kind.value == "metric"
    return {
        "source": frame.depth.source,
        "kind": frame.depth.kind.value,
        "valid": round(float(frame.depth.valid.mean()), 4),
        "min_m": round(float(known.min()), 3) if metric and known.size else None,
        "max_m": round(float(known.max()), 3) if metric and known.size else None,
    }


def _camera_facts(camera: Camera) -> dict[str, float]:
    """Intrinsics as ``--camera`` takes them: the centre of the first pixel at (0, 0)."""
    numbers = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx - 0.5, "cy": camera.cy - 0.5}
    return {name: round(value, 4) for name, value in (numbers | {"fov_x_deg": camera.fov_x_deg}).items()}
