"""RGB-D scenes into MSMU-style data: ``scenes -> parts -> shards``, on any engine, resumable by scene.

A worker builds one scene and sends it back as the bytes of its part; this process alone writes into the output folder.
So workers need no shared file system, a part is whole or not there, and the result does not depend on who built what.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sdvlm.data.build_config import BuildConfig
from sdvlm.data.build_scene import Namer, Reasoner, Rejection, build_scene
from sdvlm.data.manifest import MANIFEST, Manifest, read_manifest
from sdvlm.data.nouns import clean_label
from sdvlm.data.shards import assemble, read_part_meta, write_part
from sdvlm.depth.atomic import atomic_file
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.scenes.reader import SceneReader
from sdvlm.types import SdvlmError

__all__ = ["PARTS", "REJECTED", "BuildResult", "Helpers", "Progress", "build", "split_of"]

PARTS = "parts"
"""folder, inside the output, of the scenes built so far; it goes when the data is whole and nothing was rejected"""
REJECTED = "rejected.jsonl"


@dataclass(frozen=True)
class Helpers:
    """What asks models while building; picklable, as it travels to the workers."""

    namer: Namer | None = None
    reasoner: Reasoner | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """what distinguishes these helpers from others, for the manifest"""


@dataclass(frozen=True)
class BuildResult:
    """What a build left behind.

    Args:
        out: the output folder.
        manifest: of the finished data; None where no scene could be built.
        built: scenes built by this run.
        kept: scenes an earlier run had built.
        rejected: scenes and frames that could not be built, as in ``rejected.jsonl``.
    """

    out: Path
    manifest: Manifest | None
    built: int
    kept: int
    rejected: tuple[Rejection, ...]


Progress = Callable[[str, int, int], None]
"""called after each scene: its id, scenes done, scenes in all"""


@dataclass(frozen=True)
class _Job:
    reader: SceneReader
    scene_id: str
    config: BuildConfig
    allowed: frozenset[str] | None
    helpers: Helpers
    verify: bool


def build(
    reader: SceneReader,
    out: Path,
    config: BuildConfig | None = None,
    engine: EngineConfig | None = None,
    *,
    helpers: Helpers | None = None,
    verify: bool = False,
    progress: Progress | None = None,
) -> BuildResult:
    """Build every scene of a source; go on where an earlier run with the same settings stopped.

    Args:
        reader: of the source.
        out: output folder; holds ``data/*.parquet``, ``manifest.json`` and ``rejected.jsonl`` at the end.
        config: what to build.
        engine: who builds. The result is the same.
        helpers: models that name objects or write chains of thought.
        verify: the workers work every answer out a second time; a frame with a wrong one is rejected.
        progress: told after each scene.

    Raises:
        SdvlmError: the source has no scene, ``out`` is a file or holds data of other settings.
    """
    config, helpers = config or BuildConfig(), helpers or Helpers()
    scene_ids = reader.scene_ids()
    if not scene_ids:
        raise SdvlmError(f"{reader.root} holds no scene of layout {reader.name}")
    settings = {"reader": reader.name, "scenes": len(scene_ids), **config.to_dict(), **dict(helpers.settings)}
    settings["source"] = _digest([*scene_ids, repr(_options(reader))])
    stamp = _digest(settings)
    if out.exists() and not out.is_dir():
        raise SdvlmError(f"{out} is a file; give a folder to build into")
    done = _finished(out, stamp)
    if done is not None:
        return BuildResult(out, done, 0, len(scene_ids), ())
    parts = out / PARTS
    _claim(parts, stamp)
    lacking = _lacking(reader)
    wanted = [one for one in scene_ids if one not in lacking]
    rejected = [Rejection(scene, None, reason) for scene, reason in lacking.items()]
    here = {one for one in wanted if _whole(_part(parts, one))}
    todo = [one for one in wanted if one not in here]
    allowed, unread = _common(reader, wanted, config, engine) if todo else (None, {})
    jobs = ((one, _Job(reader, one, config, allowed, helpers, verify)) for one in todo if one not in unread)
    rejected += [Rejection(scene, None, reason) for scene, reason in unread.items()]
    count = len(here) + len(rejected)
    for result in run_jobs(jobs, build_part, engine):
        if result.value is None:
            rejected.append(Rejection(result.key, None, result.error or "gave nothing"))
        else:
            with atomic_file(_part(parts, result.key)) as stream:
                stream.write(result.value)
        count += 1
        if progress is not None:
            progress(result.key, count, len(scene_ids))
    return _finish(reader, out, config, settings | {"stamp": stamp}, scene_ids, rejected, len(here))


def build_part(job: _Job) -> bytes:
    """Build one scene, in a worker: the bytes of its part."""
    helpers, scene = job.helpers, job.reader.read(job.scene_id)
    built = build_scene(scene, job.config, job.allowed, helpers.namer, helpers.reasoner, verify=job.verify)
    meta = {
        "scene_id": job.scene_id,
        "split": built.split or split_of(job.scene_id, job.config),
        "counts": {"dropped": dict(built.dropped)},
        "rejected": [one.to_dict() for one in built.rejected],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.parquet"
        write_part(path, built.records, meta)
        return path.read_bytes()


def split_of(scene_id: str, config: BuildConfig) -> str:
    """ "train" or "test", by a hash of the room: ScanNet's ``scene0000_00`` and ``scene0000_01`` are one room."""
    room = re.sub(r"^(scene\d{4})_\d{2}$", r"\1", scene_id)
    digest = hashlib.blake2b(f"{config.seed}\0{room}".encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "little") < config.test_share * 2**64 else "train"


def _finish(
    reader: SceneReader,
    out: Path,
    config: BuildConfig,
    settings: Mapping[str, Any],
    scene_ids: Sequence[str],
    rejected: list[Rejection],
    kept: int,
) -> BuildResult:
    """Write the list of rejections, the shards and the manifest; drop the parts where they are no longer needed."""
    parts = out / PARTS
    metas = {one: read_part_meta(path) for one in scene_ids if _whole(path := _part(parts, one))}
    for meta in metas.values():
        rejected += [Rejection(**one) for one in meta["rejected"]]
    rejected.sort(key=lambda one: (one.scene_id, one.frame_id or ""))
    with atomic_file(out / REJECTED) as stream:
        stream.write("".join(json.dumps(one.to_dict()) + "\n" for one in rejected).encode())
    if not metas:
        return BuildResult(out, None, 0, 0, tuple(rejected))
    asking = {one: meta for one, meta in metas.items() if meta["held"]["questions"]}
    if not asking and rejected:
        return BuildResult(out, None, len(metas) - kept, kept, tuple(rejected))
    if not asking:
        raise SdvlmError(
            f"{reader.root}: {len(metas)} scenes were read, but no picture gives {config.min_questions} questions; "
            f"why objects were dropped: {_summed(metas.values())}"
        )
    manifest = assemble([(meta["split"], _part(parts, one)) for one, meta in metas.items()], out, settings=settings)
    if not rejected:
        shutil.rmtree(parts)
    return BuildResult(out, manifest, len(metas) - kept, kept, tuple(rejected))


def _lacking(reader: SceneReader) -> dict[str, str]:
    """Scenes that lack files, and what they lack."""
    files: dict[str, list[str]] = {}
    for one in reader.missing():
        files.setdefault(one.scene_id, []).append(one.path)
    return {scene: f"missing {', '.join(paths[:6])}" + _more(paths) for scene, paths in files.items()}


def _more(paths: list[str]) -> str:
    return f" and {len(paths) - 6} more" if len(paths) > 6 else ""


def _common(
    reader: SceneReader, scene_ids: Sequence[str], config: BuildConfig, engine: EngineConfig | None
) -> tuple[frozenset[str] | None, dict[str, str]]:
    """Categories of enough scenes, None for all; and scenes that could not be read on the way, with the reason."""
    if config.min_scenes <= 1:
        return None, {}
    counts: Counter[str] = Counter()
    unread = {}
    for result in run_jobs(((one, one) for one in scene_ids), partial(_categories, reader), engine):
        if result.value is None:
            unread[result.key] = result.error or "gave nothing"
        else:
            counts.update(result.value)
    return frozenset(one for one, scenes in counts.items() if scenes >= config.min_scenes), unread


def _categories(reader: SceneReader, scene_id: str) -> frozenset[str]:
    scene = reader.read(scene_id)
    boxes = [*scene.objects, *(one for frame in scene.frames for one in frame.objects or ())]
    return frozenset(clean_label(one.category) for one in boxes)


def _part(parts: Path, scene_id: str) -> Path:
    """Where a scene's part lies; ids that are no plain file names are made so, and stay unique."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", scene_id)
    name = (
        scene_id
        if plain == scene_id and len(plain) <= 120 and plain[0] != "."
        else f"{plain[:100]}-{_digest(scene_id)}"
    )
    return parts / f"{name}.parquet"


def _whole(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        read_part_meta(path)
    except SdvlmError:
        return False
    return True


def _claim(parts: Path, stamp: str) -> None:
    """Make the folder of parts for these settings, or go on in the one that is there.

    Raises:
        SdvlmError: it holds parts of other settings.
    """
    note = parts / "settings.txt"
    if note.is_file() and note.read_text() != stamp:
        raise SdvlmError(f"{parts.parent} holds a build of other settings or scenes; use them, or give another folder")
    if not note.is_file():
        with atomic_file(note) as stream:
            stream.write(stamp.encode())


def _finished(out: Path, stamp: str) -> Manifest | None:
    """The manifest of data that is whole and complete; None where there is work to do.

    Raises:
        SdvlmError: the folder holds data of other settings.
    """
    if not (out / MANIFEST).is_file() or (out / PARTS).is_dir():
        return None
    manifest = read_manifest(out)
    if manifest.settings.get("stamp") != stamp:
        raise SdvlmError(f"{out} holds data of other settings or scenes; use them, or give another folder")
    return manifest


def _options(reader: SceneReader) -> dict[str, Any]:
    return {name: value for name, value in vars(reader).items() if name != "root"}


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=12).hexdigest()


def _summed(metas: Iterator[dict[str, Any]] | Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for meta in metas:
        total.update(meta["counts"].get("dropped", {}))
    return dict(total)
