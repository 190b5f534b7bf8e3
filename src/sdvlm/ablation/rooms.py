"""Pictures of procedural rooms for the ablation, squared as the nano model sees them, with depth map and camera.

The stretch to the model's square is done once, on picture, depth and camera alike. What reads pixels, what reads
pooled depth and what writes depth into text then all start from the same map, and the model's processor has nothing
left to resize. Shards are written whole or not at all and are not made again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.depth.atomic import atomic_file
from sdvlm.geometry.transform import resize
from sdvlm.nano.frames import plain_question, room_views
from sdvlm.types import Camera, DepthMap, RgbdFrame

__all__ = ["Rooms", "read_rooms", "square", "views", "write_rooms"]

log = logging.getLogger(__name__)

_MM = 1000.0
_CAMERA = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True, eq=False)
class Rooms:
    """F pictures of S x S pixels.

    Args:
        pictures: (F, S, S, 3) uint8.
        depth_mm: (F, S, S) uint16 millimetres along the optical axis, 0 where unknown.
        cameras: (F, 4) float64 fx, fy, cx, cy in pixels of the square.
        questions: of each picture.
    """

    pictures: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    cameras: NDArray[np.float64]
    questions: list[tuple[QuestionSample, ...]]

    def __len__(self) -> int:
        return len(self.pictures)

    def depth(self, index: int) -> DepthMap:
        """True depth of a picture."""
        return DepthMap(self.depth_mm[index] / np.float32(_MM), source="rendered")

    def camera(self, index: int) -> Camera:
        """Camera of a picture, bound to the square."""
        side = self.pictures.shape[1]
        return Camera(side, side, *self.cameras[index].tolist())

    def frame(self, index: int) -> RgbdFrame:
        """Picture, true depth and camera."""
        return RgbdFrame(self.pictures[index], self.depth(index), self.camera(index), name=f"picture {index}")

    @classmethod
    def of(cls, frames: Iterable[tuple[RgbdFrame, Iterable[QuestionSample]]]) -> Rooms:
        """From squared frames with depth and camera, and their questions."""
        pictures, depths, cameras, questions = [], [], [], []
        for frame, asked in frames:
            assert frame.depth is not None
            assert frame.camera is not None
            pictures.append(frame.image)
            depths.append(np.round(np.nan_to_num(frame.depth.values) * _MM).astype(np.uint16))
            cameras.append([getattr(frame.camera, name) for name in _CAMERA])
            questions.append(tuple(asked))
        return cls(np.stack(pictures), np.stack(depths), np.array(cameras), questions)

    @classmethod
    def concatenate(cls, parts: list[Rooms]) -> Rooms:
        """Pictures of several, in order."""
        arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS)
        pictures, depth_mm, cameras = arrays
        return cls(pictures, depth_mm, cameras, [one for part in parts for one in part.questions])


_ARRAYS = ("pictures", "depth_mm", "cameras")


def square(frame: RgbdFrame, side: int) -> RgbdFrame:
    """The frame stretched to a square, as the nano model's processor does it; depth by nearest neighbour."""
    stretch = resize(frame.size, (side, side))
    assert frame.depth is not None
    assert frame.camera is not None
    return RgbdFrame(
        stretch.image(frame.image), stretch.depth(frame.depth), stretch.camera(frame.camera), name=frame.name
    )


def views(
    seed: int, rooms: int, frames_per_room: int, questions_per_frame: int, side: int
) -> Iterator[tuple[RgbdFrame, list[QuestionSample]]]:
    """Squared pictures of fresh rooms and their questions. The same seed gives the same."""
    for frame, _, questions in room_views(np.random.default_rng(seed), rooms, frames_per_room, questions_per_frame):
        yield square(frame, side), questions


def write_rooms(path: Path, rooms: Rooms) -> None:
    """Write as safetensors with the questions in the metadata, whole or not at all."""
    texts = json.dumps([[plain_question(question) for question in questions] for questions in rooms.questions])
    with atomic_file(path) as stream:
        stream.write(save({name: getattr(rooms, name) for name in _ARRAYS}, metadata={"questions": texts}))


def read_rooms(paths: Iterable[Path]) -> Rooms:
    """What :func:`write_rooms` wrote, of several files in order."""
    parts = []
    for path in paths:
        with safe_open(path, framework="numpy") as file:
            texts = json.loads(file.metadata()["questions"])
            pictures, depth_mm, cameras = (file.get_tensor(name) for name in _ARRAYS)
        questions = [tuple(_sample(one) for one in asked) for asked in texts]
        parts.append(Rooms(pictures, depth_mm, cameras, questions))
    return Rooms.concatenate(parts)


def _sample(values: dict[str, Any]) -> QuestionSample:
    typed = dict(values["answer_typed"])
    typed |= {"kind": AnswerKind(typed["kind"]), "values": tuple(typed["values"])}
    sequences = {name: tuple(values[name]) for name in ("objects", "names")}
    point = None if values["point"] is None else tuple(values["point"])
    family = {"type": QuestionType(values["type"]), "answer_typed": TypedAnswer(**typed)}
    return QuestionSample(**(values | sequences | family | {"point": point}))
