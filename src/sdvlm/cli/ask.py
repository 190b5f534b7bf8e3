"""``sdvlm ask``: questions about one picture, or prompts about several as they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdvlm.answering import Reply
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.types import Camera, DepthMap, RgbdFrame


def ask(
    image: Annotated[Path, typer.Argument(help="The picture: JPEG, PNG, WebP or TIFF.", show_default=False)],
    questions: Annotated[
        list[str] | None,
        typer.Argument(
            help="One or more; the picture is read once. With --raw-prompt: further pictures.", show_default=False
        ),
    ] = None,
    raw_prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Sent as it stands, an <image> in it for each picture; again for further prompts.",
            metavar="TEXT",
            show_default=False,
        ),
    ] = None,
    depth: Annotated[
        str,
        typer.Option(
            help="Depth file, 'none', an estimator (short name, hub id, folder), or 'auto': the model's own.",
            metavar="FILE|none|auto|ID",
        ),
    ] = "auto",
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
    mode: Annotated[
        str | None,
        typer.Option(help="SD-VLM models: official or aligned; default: the checkpoint's.", show_default=False),
    ] = None,
    conversation: Annotated[
        str | None,
        typer.Option(help="vicuna_v1, none or chat; default: the checkpoint's.", show_default=False),
    ] = None,
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
    from sdvlm.answering import ask_prompts
    from sdvlm.cli.ask_inputs import load_given
    from sdvlm.cli.load import load_quietly
    from sdvlm.types import SdvlmError

    images = [image, *(Path(one) for one in questions or [])] if raw_prompt else [image]
    if page is not None and len(images) > 1:
        raise SdvlmError(f"--page shows one picture; got {len(images)}")
    reading = {"kind": depth_kind, "scale_to_m": depth_scale, "codec": depth_codec, "resize_depth": resize_depth}
    given = load_given(images, depth, camera, fov, device, reading)
    vlm, processor = load_quietly(model, device, mode, conversation)
    frames, maps = given.with_depth(processor)
    if raw_prompt:
        replies = ask_prompts(vlm, processor, frames, raw_prompt, max_new_tokens, maps)
    else:
        replies = ask_model(vlm, processor, frames[0], questions or [], max_new_tokens, maps[0])
    notes = _notes(frames, maps, processor, model, raw_prompt or [])
    if page is not None:
        from sdvlm.demo.pages import ask_page
        from sdvlm.page import write_page

        write_page(ask_page(frames[0], replies, model, notes, maps[0]), page)
        typer.echo(f"page: {page}", err=True)
    if as_json:
        document = _document(images, frames, maps, replies, model, notes)
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for reply in replies:
        typer.echo(f"{reply.question}\n  {reply.answer}")
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _notes(
    frames: Sequence[RgbdFrame],
    maps: Sequence[DepthMap | None],
    processor: DepthProcessor,
    model: str,
    raw_prompts: Sequence[str],
) -> list[str]:
    """What the reader of the answers has to know."""
    from sdvlm.answering import NANO, NANO_NOTE

    notes = []
    rays_matter = processor.fusion is not None and processor.fusion.uses_camera
    if all(one is None for one in maps):
        notes.append("without depth: lengths are guesses from the picture alone; give --depth FILE or an estimator")
    elif rays_matter and any(
        one is not None and one.kind.value == "metric" and frame.camera is None
        for frame, one in zip(frames, maps, strict=True)
    ):
        notes.append("without a camera: depth is known but not where each pixel's ray goes; give --camera or --fov")
    mark = processor.processor.image_token
    for number, prompt in enumerate(raw_prompts, 1):
        if mark not in prompt:
            notes.append(f"prompt {number} has no {mark}: it was sent without the picture")
    if model == NANO:
        notes.append(NANO_NOTE)
    return notes


def _document(
    images: Sequence[Path],
    frames: Sequence[RgbdFrame],
    maps: Sequence[DepthMap | None],
    replies: Sequence[Reply],
    model: str,
    notes: list[str],
) -> dict[str, Any]:
    """The JSON document that ``--json`` prints. ``image``, ``depth`` and ``camera`` are the first picture's."""
    pictures = [
        {"path": str(path), "width": frame.size[0], "height": frame.size[1]}
        for path, frame in zip(images, frames, strict=True)
    ]
    facts = [None if one is None else _depth_facts(one) for one in maps]
    return {
        "answers": [reply.to_dict() for reply in replies],
        "model": model,
        "image": pictures[0],
        "depth": facts[0],
        "camera": None if frames[0].camera is None else _camera_facts(frames[0].camera),
        **({"images": pictures, "depths": facts} if len(pictures) > 1 else {}),
        "notes": notes,
    }


def _depth_facts(depth: DepthMap) -> dict[str, Any]:
    known = depth.values[depth.valid]
    metric = depth.kind.value == "metric"
    return {
        "source": depth.source,
        "kind": depth.kind.value,
        "valid": round(float(depth.valid.mean()), 4),
        "min_m": round(float(known.min()), 3) if metric and known.size else None,
        "max_m": round(float(known.max()), 3) if metric and known.size else None,
    }


def _camera_facts(camera: Camera) -> dict[str, float]:
    """Intrinsics as ``--camera`` takes them: the centre of the first pixel at (0, 0)."""
    numbers = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx - 0.5, "cy": camera.cy - 0.5}
    return {name: round(value, 4) for name, value in (numbers | {"fov_x_deg": camera.fov_x_deg}).items()}
