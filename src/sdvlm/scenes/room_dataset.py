"""A folder of procedural rooms in ScanNet's layout, resumable, each scene decided by (seed, number) alone."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.furniture import CATEGORIES
from sdvlm.scenes.look import sample_look
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room, RoomConfig, make_room
from sdvlm.scenes.scannet_labels import write_label_table
from sdvlm.scenes.scannet_writer import ScanFrame, write_scannet_scene
from sdvlm.scenes.scene import Scene
from sdvlm.scenes.sensor import SensorConfig, sensor_depth
from sdvlm.scenes.viewpoints import ViewConfig, sample_cameras
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["RoomDataset", "WrittenRoom", "write_rooms"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoomDataset:
    """What to write."""

    scenes: int = 10
    """number of rooms"""
    seed: int = 0
    """decides everything together with a room's number"""
    frames: int = 8
    """pictures of each room, all with the room's one camera"""
    image_size: tuple[int, int] = (640, 480)
    """(width, height) of the colour pictures"""
    depth_size: tuple[int, int] | None = None
    """(width, height) of the depth pictures; None: as the colour pictures"""
    supersample: int = 2
    """colour rays along each side of a pixel"""
    sensor: SensorConfig | None = None
    """adds a depth sensor's noise and holes, and pixel noise; None: true depth"""
    rooms: RoomConfig = dataclasses.field(default_factory=RoomConfig)
    """what rooms are drawn from"""
    views: ViewConfig = dataclasses.field(default_factory=ViewConfig)
    """what viewpoints are drawn from"""
    sens: bool = False
    """frames as one ``.sens`` file a scene instead of folders"""

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.frames < 1 or self.seed < 0:
            raise SdvlmError(
                f"rooms need scenes >= 1, frames >= 1, seed >= 0; got {self.scenes}, {self.frames}, {self.seed}"
            )
        for size in (self.image_size, self.depth_size or self.image_size):
            if min(size) < 16 or max(size) > 8192:
                raise SdvlmError(f"picture sizes must lie in 16..8192 pixels a side; got {size[0]}x{size[1]}")


@dataclass(frozen=True)
class WrittenRoom:
    """One scene on disk: its folder, how many objects and frames it holds, whether it was there already."""

    folder: Path
    objects: int
    frames: int
    skipped: bool


def write_rooms(
    root: Path, dataset: RoomDataset, progress: Callable[[WrittenRoom], None] | None = None
) -> list[WrittenRoom]:
    """Write rooms ``scene0000_00``, ``scene0001_00``, ... and the label table under ``root``.

    Scenes that are there and were made from the same settings are kept; a scene is either whole or not there.

    Raises:
        SdvlmError: ``root`` is a file, or holds scenes made from other settings.
    """
    if root.exists() and not root.is_dir():
        raise SdvlmError(f"{root} is a file; pass a folder to write rooms into")
    root.mkdir(parents=True, exist_ok=True)
    write_label_table(root / "scannetv2-labels.combined.tsv", CATEGORIES)
    written = []
    for number in range(dataset.scenes):
        folder = root / f"scene{number:04d}_00"
        room = _existing(folder, _notes(dataset, number), dataset.frames) or _write_one(
            root, folder.name, dataset, number
        )
        written.append(room)
        if progress is not None:
            progress(room)
    return written


def _notes(dataset: RoomDataset, number: int) -> dict[str, object]:
    """What a scene was made from; ``scenes`` is left out, so a set can grow."""
    settings = dataclasses.asdict(dataset)
    del settings["scenes"]
    if not dataset.sens:
        del settings["sens"]  # rooms written before there was a choice stay the same
    return {"number": number, "settings": json.loads(json.dumps(settings))}


def _existing(folder: Path, notes: dict[str, object], frames: int) -> WrittenRoom | None:
    if not folder.exists():
        return None
    try:
        found = json.loads((folder / "sdvlm.json").read_text())
        same, objects = found["notes"] == notes, int(found["objects"])
    except (OSError, ValueError, KeyError, TypeError):
        same, objects = False, 0
    if not same:
        raise SdvlmError(f"{folder} was made from other settings; choose another output folder or remove it")
    return WrittenRoom(folder, objects, frames, skipped=True)


def _write_one(root: Path, scene_id: str, dataset: RoomDataset, number: int) -> WrittenRoom:
    for leftover in root.glob(f".{scene_id}.*.partial"):
        logger.info("removing %s, left by an interrupted run", leftover)
        shutil.rmtree(leftover, ignore_errors=True)
    rng = np.random.default_rng([dataset.seed, number])
    room = make_room(rng, dataset.rooms)
    scene = Scene(scene_id, room.objects, (), room.mesh, source="rooms")
    folder = write_scannet_scene(
        scene,
        root,
        _shots(room, rng, dataset),
        T_aligned_raw=_unaligned(rng),
        scene_type=room.kind,
        notes={"notes": _notes(dataset, number), "objects": len(room.objects)},
        sens=dataset.sens,
    )
    return WrittenRoom(folder, len(room.objects), dataset.frames, skipped=False)


def _unaligned(rng: np.random.Generator) -> NDArray[np.float64]:
    """(4, 4) axisAlignment: a scan starts with any heading, at any place."""
    turn, T = rng.uniform(-math.pi, math.pi), np.eye(4)
    T[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    T[:3, 3] = rng.uniform(-3, 3, 3) * (1, 1, 0.1)
    return T


def _shots(room: Room, rng: np.random.Generator, dataset: RoomDataset) -> Iterator[ScanFrame]:
    """Pictures of a room with one camera, whose field of view is drawn once for the room."""
    renderer = Renderer(room.mesh, room.face_materials)
    fov = float(rng.uniform(*dataset.views.fov_x_deg))
    views = dataclasses.replace(dataset.views, fov_x_deg=(fov, fov))
    noisy = dataset.sensor is not None
    look = sample_look(rng, room.size, supersample=dataset.supersample, sensor_noise=noisy)
    poses = sample_cameras(room, rng, dataset.frames, dataset.image_size, views, renderer)
    for index, (camera, pose) in enumerate(poses):
        drawn = renderer.render(camera, pose, look, rng)
        depth_camera, depth = camera, drawn.depth_m
        if dataset.depth_size is not None and dataset.depth_size != dataset.image_size:
            depth_camera = Camera.from_fov(*dataset.depth_size, fov)
            depth, _ = renderer.trace(depth_camera, pose)
        if dataset.sensor is not None:
            same = depth_camera == camera
            depth = sensor_depth(depth, rng, dataset.sensor, drawn.image if same else None)
        yield ScanFrame(str(index), drawn.image, camera, DepthMap(depth), depth_camera, pose)
