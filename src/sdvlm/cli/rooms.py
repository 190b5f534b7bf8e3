"""``sdvlm rooms``: procedural rooms in ScanNet's own layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sdvlm.scenes.room_dataset import WrittenRoom

__all__ = ["rooms"]


def _size(text: str, flag: str) -> tuple[int, int]:
    from sdvlm.types import SdvlmError

    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SdvlmError(f"{flag} must be WIDTHxHEIGHT in pixels, such as 640x480; got '{text}'")
    return int(width), int(height)


def rooms(
    out: Annotated[Path, typer.Argument(help="Folder to write scenes into; made if needed.")],
    scenes: Annotated[int, typer.Option(help="Number of rooms.")] = 10,
    seed: Annotated[int, typer.Option(help="Decides everything; the same seed writes the same rooms.")] = 0,
    frames: Annotated[int, typer.Option(help="Pictures of each room.")] = 8,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the pictures.")] = "640x480",
    depth_size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT of the depth; default: as the pictures.")] = None,
    sensor: Annotated[bool, typer.Option(help="Add a sensor's noise and holes.")] = False,
    sens: Annotated[bool, typer.Option(help="Write frames into a .sens file a scene, not into folders.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write procedural rooms in ScanNet's layout. Run again to go on where it stopped."""
    from sdvlm.scenes.room_dataset import RoomDataset, write_rooms
    from sdvlm.scenes.sensor import SensorConfig

    dataset = RoomDataset(
        scenes=scenes,
        seed=seed,
        frames=frames,
        image_size=_size(size, "--size"),
        depth_size=None if depth_size is None else _size(depth_size, "--depth-size"),
        sensor=SensorConfig() if sensor else None,
        sens=sens,
    )

    def tell(room: WrittenRoom) -> None:
        state = "kept" if room.skipped else "wrote"
        typer.echo(f"{state} {room.folder}: {room.objects} objects, {room.frames} frames", err=True)

    written = write_rooms(out, dataset, tell)
    listed = [
        {"path": str(room.folder), "objects": room.objects, "frames": room.frames, "skipped": room.skipped}
        for room in written
    ]
    new = sum(not room.skipped for room in written)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "seed": seed, "written": new, "scenes": listed}))
    else:
        typer.echo(f"{out}: {new} rooms written, {len(written) - new} kept, {frames} frames each")
