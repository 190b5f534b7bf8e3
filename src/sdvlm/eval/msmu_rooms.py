"""MSMU-Rooms: the embedded benchmark, 987 questions about procedural rooms in MSMU-Bench's proportions.

Frozen: version, seeds and settings below decide it. It is built on first use with the same code that builds training
data, and what was built is compared with the digest kept here. Rooms are drawn from seeds that nothing trains on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from sdvlm.data.build_config import BuildConfig
from sdvlm.data.build_scene import build_scene
from sdvlm.data.built import iter_records
from sdvlm.data.manifest import MANIFEST, read_manifest
from sdvlm.data.names import NameConfig
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.record import FrameRecord
from sdvlm.data.schema import QuestionSample, QuestionType
from sdvlm.data.shards import assemble, write_part
from sdvlm.depth.cache import default_cache_folder
from sdvlm.scenes.furniture import CATEGORIES
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.room_scene import room_scene
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.scene import Scene
from sdvlm.scenes.viewpoints import sample_cameras
from sdvlm.types import SdvlmError

__all__ = ["MSMU_BENCH_COUNTS", "MSMU_ROOMS", "RoomsBench", "build_rooms_bench", "msmu_rooms", "questions_digest"]

_log = logging.getLogger(__name__)

MSMU_BENCH_COUNTS: Mapping[QuestionType, int] = MappingProxyType(
    {
        QuestionType.ZERO: 48,
        QuestionType.COUNT: 96,
        QuestionType.SCALE_ESTIMATION: 259,
        QuestionType.POSITION: 87,
        QuestionType.RELATIVE_POSITION: 161,
        QuestionType.ABSOLUTE_DISTANCE: 40,
        QuestionType.SCALE_COMPARE: 106,
        QuestionType.REFER_OBJ_ESTIMATION: 190,
    }
)
"""Questions of each family in MSMU-Bench as published, 987 in all."""


@dataclass(frozen=True)
class RoomsBench:
    """What decides the benchmark."""

    version: int = 1
    """raised whenever a question, an answer or a picture changes"""
    seed: int = 700_000
    """first seed of the rooms; room i is drawn from seed + i. Nothing else uses these"""
    counts: Mapping[QuestionType, int] = field(default_factory=lambda: MSMU_BENCH_COUNTS)
    """questions of each family"""
    frames_per_room: int = 2
    """pictures of each room"""
    per_frame: int = 8
    """questions of a picture at most"""
    sizes: tuple[tuple[int, int], ...] = ((320, 240), (320, 240), (384, 288), (352, 198), (240, 320))
    """(width, height) of the pictures, drawn for each room"""
    digest: str | None = None
    """of the questions and answers; None: not compared"""


MSMU_ROOMS = RoomsBench(digest="b035c07490c0bb0dd0053e83")
"""Frozen: a change that alters the digest raises the version."""


def msmu_rooms(bench: RoomsBench | None = None, folder: Path | None = None) -> Path:
    """The folder of the benchmark, built if it is not there yet (under a minute).

    Args:
        bench: which; default :data:`MSMU_ROOMS`.
        folder: where; default ``msmu-rooms-VERSION`` in the cache folder (``$SDVLM_CACHE``, else ``~/.cache/sdvlm``).

    Raises:
        SdvlmError: what this machine builds is not the frozen benchmark; scores on it would not be comparable.
    """
    bench = bench or MSMU_ROOMS
    out = folder or default_cache_folder().parent / f"msmu-rooms-{bench.version}"
    if (out / MANIFEST).is_file():
        read_manifest(out)
        return out
    _log.info("building MSMU-Rooms in %s", out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as stage:
        made = Path(stage) / "made"
        build_rooms_bench(bench, made)
        digest = questions_digest(made)
        if bench.digest is not None and digest != bench.digest:
            raise SdvlmError(
                f"MSMU-Rooms {bench.version} came out different on this machine (digest {digest}, wanted "
                f"{bench.digest}), so scores would not be comparable; please report it with what sdvlm doctor says"
            )
        shutil.rmtree(out, ignore_errors=True)
        made.replace(out)
    return out


def build_rooms_bench(bench: RoomsBench, out: Path) -> None:
    """Draw rooms and questions until every family has its count; write them as built data, one row a question."""
    wanted = dict(bench.counts)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for number, scene in enumerate(_scenes(bench)):
            records = [kept for record in _records(scene, bench) if (kept := _keep(record, wanted, bench.per_frame))]
            if records:
                parts.append(("test", Path(folder) / f"{scene.id}.parquet"))
                write_part(parts[-1][1], records, {"room": number})
            if not any(wanted.values()):
                break
        settings = {"benchmark": "MSMU-Rooms", "version": bench.version, "seed": bench.seed}
        assemble(parts, out, settings=settings)


def questions_digest(folder: Path) -> str:
    """Digest of what is asked about which picture, with which answer; pixels are not part of it."""
    digest = hashlib.blake2b(digest_size=12)
    for record in iter_records(folder, "test"):
        for sample in record.samples:
            line = (record.image_id, sample.question, sample.answer, sample.template, sample.objects)
            digest.update(repr(line).encode())
    return digest.hexdigest()


def _scenes(bench: RoomsBench) -> Iterator[Scene]:
    number = 0
    while True:
        rng = np.random.default_rng(bench.seed + number)
        room = make_room(rng)
        size = bench.sizes[rng.integers(len(bench.sizes))]
        renderer = Renderer(room.mesh, room.face_materials)
        cameras = sample_cameras(room, rng, bench.frames_per_room, size, renderer=renderer)
        yield room_scene(room, f"room{number:04d}", cameras, bench.seed + number)
        number += 1


def _records(scene: Scene, bench: RoomsBench) -> tuple[FrameRecord, ...]:
    asking = QuestionConfig(per_frame=40, negative_categories=CATEGORIES)
    config = BuildConfig(
        seed=bench.seed,
        frames_per_scene=None,
        min_questions=1,
        reasoning_share=0.0,
        names=NameConfig(sizes=True),  # labels of rooms are exact
        questions=asking,
    )
    return build_scene(scene, config).records


def _keep(record: FrameRecord, wanted: dict[QuestionType, int], most: int) -> FrameRecord | None:
    """The record with the questions still wanted, the scarcest families first; None if there are none."""
    chosen: list[QuestionSample] = []
    while len(chosen) < most:
        left = [one for one in record.samples if wanted.get(one.type, 0) > 0 and one not in chosen]
        if not left:
            break
        chosen.append(max(left, key=lambda one: wanted[one.type]))
        wanted[chosen[-1].type] -= 1
    return dataclasses.replace(record, samples=tuple(chosen)) if chosen else None
