"""Scenes to measure builds on: furnished rooms on disk, and a few of them passed off as many."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from sdvlm.scenes.reader import MissingFile, SceneReader, open_reader
from sdvlm.scenes.room_dataset import RoomDataset, write_rooms
from sdvlm.scenes.scene import Scene
from sdvlm.scenes.sensor import SensorConfig
from sdvlm.types import SdvlmError

__all__ = ["Copies", "write_bench_rooms"]


@dataclass(frozen=True)
class Copies:
    """A reader that reads the scenes of another over and over, each time from disk and under another id.

    Args:
        reader: of the scenes.
        count: how many scenes there seem to be.
    """

    reader: SceneReader
    count: int

    @property
    def name(self) -> str:
        """Of the reader."""
        return self.reader.name

    @property
    def root(self) -> Path:
        """Of the reader."""
        return self.reader.root

    def scene_ids(self) -> list[str]:
        """As many as asked for, sorted."""
        if self.count > 10_000:
            raise SdvlmError(f"at most 10000 copies can be told apart; got {self.count}")
        return [f"scene{number:04d}_00" for number in range(self.count)]

    def missing(self) -> list[MissingFile]:
        """Nothing: the bench wrote them."""
        return []

    def read(self, scene_id: str) -> Scene:
        """The scene whose turn it is."""
        ids = self.reader.scene_ids()
        return dataclasses.replace(self.reader.read(ids[self.scene_ids().index(scene_id) % len(ids)]), id=scene_id)


def write_bench_rooms(root: Path, rooms: int, frames: int, size: tuple[int, int], seed: int) -> SceneReader:
    """Write rooms with a depth sensor's noise and holes, which real depth has too; their reader."""
    write_rooms(root, RoomDataset(rooms, seed, frames, size, supersample=1, sensor=SensorConfig()))
    return open_reader(root, "scannet")
