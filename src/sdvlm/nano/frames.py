"""Training data of the nano model: frames of procedural rooms, pooled and labelled, in shards of safetensors.

A frame is kept as the model sees it: the stretched picture, the packed depth grid of its tokens, how much of each patch
every object covers, and its questions as text. Shards are written whole or not at all, and a finished shard is not made
again, so making data resumes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from sdvlm.data.colors import instance_colors
from sdvlm.data.names import NameConfig
from sdvlm.data.observe import Observation, observe
from sdvlm.data.phrasings import Phrasing
from sdvlm.data.questions import QuestionConfig, QuestionSample, ask_all
from sdvlm.data.schema import QuestionType
from sdvlm.data.select import select
from sdvlm.depth.atomic import atomic_file
from sdvlm.fusion.pool import pool_depth
from sdvlm.geometry.transform import resize
from sdvlm.nano.config import PLANES, NanoConfig
from sdvlm.scenes.furniture import CATEGORIES
from sdvlm.scenes.look import sample_look
from sdvlm.scenes.palette import COLORS
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import DepthMap, RgbdFrame

__all__ = [
    "COLOR_NAMES",
    "NanoFrame",
    "ShardConfig",
    "make_frames",
    "plain_question",
    "read_shard",
    "room_views",
    "write_shard",
]

log = logging.getLogger(__name__)

PICTURE_SIZES = ((320, 240), (320, 240), (320, 240), (384, 288), (256, 192), (352, 198), (300, 200), (240, 300))
"""(width, height) frames are drawn at; mostly 4:3"""
COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True)
class ShardConfig:
    """How many frames, from which rooms."""

    rooms: int = 32
    """rooms in a shard"""
    frames_per_room: int = 6
    """pictures of each room"""
    questions_per_frame: int = 40
    """questions kept of each picture"""
    weights: tuple[tuple[str, float], ...] = (
        ("absolute_distance", 1.5),
        ("scale_compare", 1.3),
        ("scale_estimation", 1.3),
        ("relative_position", 0.6),
    )
    """how often each family is asked, 1 where it is not named; more of those that are learned slowly"""
    phrasing: Phrasing = "all"
    """wordings drawn from; never the held-out ones"""
    units: tuple[tuple[str, float], ...] = (("m", 0.5), ("cm", 0.14), ("mm", 0.08), ("ft", 0.14), ("in", 0.14))
    """how often lengths are asked for in each unit"""

    @property
    def asking(self) -> QuestionConfig:
        """What is asked of each picture, answered in the bare form."""
        return QuestionConfig(
            self.questions_per_frame,
            weights={family: dict(self.weights).get(family.value, 1.0) for family in QuestionType},
            answer_style="short",
            negative_categories=CATEGORIES,
            phrasing=self.phrasing,
            units=tuple(unit for unit, _ in self.units),
            unit_weights=tuple(weight for _, weight in self.units),
        )


@dataclass(frozen=True, eq=False)
class NanoFrame:
    """One training frame. M objects, N image tokens.

    Args:
        picture: (S, S, 3) uint8, stretched to the model's square.
        depth: (N, C) float32 packed depth grid.
        planes: (P, S, S) float16 planes of the depth map on the same square (``config.PLANES``).
        coverage: (M, N) uint8, 255 times the share of each patch that each seen object covers.
        categories: (M,) category names.
        colors: (M,) long, index into ``COLOR_NAMES``, -1 where the colour has no plain name.
        boxes: (M, 4) float32, visible box in image sides 0..1.
        ids: (M,) instance ids.
        questions: about this picture.
    """

    picture: NDArray[np.uint8]
    depth: NDArray[np.float32]
    planes: NDArray[np.float16]
    coverage: NDArray[np.uint8]
    categories: tuple[str, ...]
    colors: NDArray[np.int64]
    boxes: NDArray[np.float32]
    ids: tuple[int, ...]
    questions: tuple[dict[str, Any], ...]


def square_boxes(config: NanoConfig, size: tuple[int, int]) -> NDArray[np.float64]:
    """(N, 4) boxes of the image tokens in pixels of a picture of that (width, height), row-major."""
    side = config.grid_side
    steps = np.arange(side) / side
    left, top = np.meshgrid(steps * size[0], steps * size[1])
    return np.stack([left, top, left + size[0] / side, top + size[1] / side], axis=-1).reshape(-1, 4)


def nano_frame(
    config: NanoConfig, frame: RgbdFrame, observation: Observation, questions: list[QuestionSample]
) -> NanoFrame:
    """One frame as the model sees it. ``frame``: picture, depth and camera."""
    size = frame.size
    square = resize(size, (config.image_size, config.image_size))
    grid = pool_depth(frame.depth, square_boxes(config, size), size, frame.camera).pack().numpy()
    seen = [one for one in observation.objects if one.pixel_count >= 12]
    colors = [one.colors.name for one in seen]
    return NanoFrame(
        picture=square.image(frame.image),
        depth=grid,
        planes=PLANES.processed(square, frame.depth, frame.camera).astype(np.float16),
        coverage=_coverage(observation.instances, [one.id for one in seen], config.grid_side),
        categories=tuple(one.category for one in seen),
        colors=np.array([COLOR_NAMES.index(name) if name in COLOR_NAMES else -1 for name in colors], dtype=np.int64),
        boxes=(np.array([one.bounds_px for one in seen]).reshape(-1, 4) / [*size, *size]).astype(np.float32),
        ids=tuple(one.id for one in seen),
        questions=tuple(plain_question(question) for question in questions),
    )


def plain_question(question: QuestionSample) -> dict[str, Any]:
    """A question as JSON can hold it."""
    return asdict(question) | {"answer_typed": question.answer_typed.to_dict()}


def _coverage(instances: NDArray[np.int32], ids: list[int], side: int, fine: int = 8) -> NDArray[np.uint8]:
    """(M, side * side) 255 times the share of each patch covered, from fine x fine samples a patch."""
    square = resize((instances.shape[1], instances.shape[0]), (side * fine, side * fine)).mask(instances)
    patches = square.reshape(side, fine, side, fine).transpose(0, 2, 1, 3).reshape(side * side, fine * fine)
    shares = [(patches == one).mean(axis=1) for one in ids]
    return (np.array(shares).reshape(len(ids), side * side) * 255).round().astype(np.uint8)


def room_views(
    rng: np.random.Generator,
    rooms: int,
    frames_per_room: int,
    questions: int | QuestionConfig,
    sized: bool = False,
    asking_rng: np.random.Generator | None = None,
) -> Iterator[tuple[RgbdFrame, Observation, list[QuestionSample]]]:
    """Pictures of fresh rooms with true depth, what they see, their questions. The same generator, the same views.

    Args:
        rng: everything is drawn from it, but for what ``asking_rng`` draws.
        rooms, frames_per_room: how many.
        questions: what to ask of each picture, or how many questions of all families alike, in the core wordings.
        sized: whether things may be named by their size ("the tallest lamp").
        asking_rng: draws the questions, so that other wordings leave the pictures as they are.
    """
    asking = questions
    if isinstance(asking, int):
        asking = QuestionConfig(asking, answer_style="short", negative_categories=CATEGORIES)
    for _ in range(rooms):
        room = make_room(rng)
        colors = instance_colors(room.mesh)
        renderer = Renderer(room.mesh, room.face_materials)
        for _ in range(frames_per_room):
            size = PICTURE_SIZES[rng.integers(len(PICTURE_SIZES))]
            ((camera, pose),) = sample_cameras(room, rng, 1, size, renderer=renderer)
            drawn = renderer.render(camera, pose, sample_look(rng, room.size, sensor_noise=True), rng)
            ids = tuple(int(one) for one in np.unique(drawn.instances) if one > 0)
            amodal = renderer.amodal_counts(camera, pose, ids)
            seen = observe(room.objects, drawn.instances, drawn.depth_m, camera, pose, amodal=amodal, colors=colors)
            frame = RgbdFrame(drawn.image, DepthMap(drawn.depth_m, source="rendered"), camera, pose, name="room view")
            yield frame, seen, ask_all(select(seen), asking_rng or rng, asking, name_config=NameConfig(sizes=sized))


def make_frames(config: NanoConfig, shard: ShardConfig, seed: int) -> Iterator[NanoFrame]:
    """Training frames of fresh rooms. The same seed gives the same frames, and the same pictures whatever is asked."""
    rng, asking_rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    for view in room_views(rng, shard.rooms, shard.frames_per_room, shard.asking, sized=True, asking_rng=asking_rng):
        yield nano_frame(config, *view)


def write_shard(path: Path, frames: list[NanoFrame]) -> None:
    """Write frames as ``path`` (safetensors; texts in its metadata), whole or not at all."""
    texts = [{"categories": f.categories, "ids": f.ids, "questions": f.questions} for f in frames]
    arrays: dict[str, NDArray[Any]] = {
        "picture": np.stack([f.picture for f in frames]),
        "depth": np.stack([f.depth for f in frames]),
        "planes": np.stack([f.planes for f in frames]),
        "coverage": np.concatenate([f.coverage for f in frames]),
        "colors": np.concatenate([f.colors for f in frames]),
        "boxes": np.concatenate([f.boxes for f in frames]).astype(np.float32),
    }
    with atomic_file(path) as stream:
        stream.write(save(arrays, metadata={"frames": json.dumps(texts)}))


def read_shard(path: Path) -> list[NanoFrame]:
    """Frames of a shard, in order."""
    with safe_open(path, framework="numpy") as file:
        texts = json.loads(file.metadata()["frames"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    frames, start = [], 0
    for index, text in enumerate(texts):
        stop = start + len(text["ids"])
        frames.append(
            NanoFrame(
                picture=arrays["picture"][index],
                depth=arrays["depth"][index],
                planes=arrays["planes"][index],
                coverage=arrays["coverage"][start:stop],
                categories=tuple(text["categories"]),
                colors=arrays["colors"][start:stop],
                boxes=arrays["boxes"][start:stop],
                ids=tuple(text["ids"]),
                questions=tuple(text["questions"]),
            )
        )
        start = stop
    return frames
