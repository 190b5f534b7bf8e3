"""RGB-D scenes into MSMU-style data: ``scenes -> parts -> shards``, on any engine, resumable by scene.

A worker builds one scene and sends it back as the bytes of its part; this process alone writes into the output folder.
So workers need no shared file system, a part is whole or not there, and the result does not depend on who built what.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sdvlm.data.build_config import BuildConfig
from sdvlm.data.build_folder import PARTS, claim, digest_of, drop_parts, finished, part_path, whole_parts
from sdvlm.data.build_scene import Namer, Reasoner, Rejection, build_scene
from sdvlm.data.manifest import Manifest, add_counts
from sdvlm.data.nouns import clean_label
from sdvlm.data.shards import assemble, write_part
from sdvlm.data.splits import place_of, room_of
from sdvlm.depth.atomic import atomic_file
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.scenes.reader import SceneReader
from sdvlm.types import SdvlmError

__all__ = ["PARTS", "REJECTED", "BuildResult", "Helpers", "Progress", "build", "split_of"]

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
        SdvlmError: the source has no scene, ``out`` is a file or holds data of other settings, or of nobody's build.
    """
    config, helpers = config or BuildConfig(), helpers or Helpers()
    scene_ids = reader.scene_ids()
    if not scene_ids:
        raise SdvlmError(f"{reader.root} holds no scene of layout {reader.name}")
    settings = {"reader": reader.name, "scenes": len(scene_ids), **config.to_dict(), **dict(helpers.settings)}
    settings["source"] = digest_of([*scene_ids, repr(_options(reader))])
    stamp = digest_of(settings)
    if out.exists() and not out.is_dir():
        raise SdvlmError(f"{out} is a file; give a folder to build into")
    done = finished(out, stamp)
    if done is not None:
        return BuildResult(out, done, 0, len(scene_ids), ())
    parts = claim(out, stamp)
    lacking = _lacking(reader)
    readable = [one for one in scene_ids if one not in lacking]
    allowed, unread = _common(reader, readable, config, engine)
    metas = whole_parts(parts, scene_ids)
    here = {one for one, meta in metas.items() if not meta["rejected"] and meta.get("common") == _mark(allowed)}
    unfit = {one: why for one, why in (lacking | unread).items() if one not in here}
    rejected = [Rejection(scene, None, reason) for scene, reason in unfit.items()]
    todo = [one for one in scene_ids if one not in here and one not in unfit]
    jobs = ((one, _Job(reader, one, config, allowed, helpers, verify)) for one in todo)
    count = len(here) + len(rejected)
    for result in run_jobs(jobs, build_part, engine):
        if result.value is None:
            rejected.append(Rejection(result.key, None, result.error or "gave nothing"))
        else:
            with atomic_file(part_path(parts, result.key)) as stream:
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
        "split": built.split,
        "common": _mark(job.allowed),
        "counts": {"dropped": dict(built.dropped)},
        "rejected": [one.to_dict() for one in built.rejected],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.parquet"
        write_part(path, built.records, meta)
        return path.read_bytes()


def split_of(scene_id: str, config: BuildConfig) -> str:
    """ "train" or "test", by a hash of the room: ScanNet's ``scene0000_00`` and ``scene0000_01`` are one room."""
    return "test" if place_of(scene_id, config.seed) < config.test_share else "train"


def _splits(metas: Mapping[str, Mapping[str, Any]], config: BuildConfig) -> dict[str, str]:
    """Official splits where the source has them; else by hash, and of two rooms or more at least one for the test."""
    splits = {one: meta["split"] or split_of(one, config) for one, meta in metas.items()}
    asking = [one for one, meta in metas.items() if meta["held"]["questions"]]
    official = any(meta["split"] for meta in metas.values())
    held_out = "test" in {splits[one] for one in asking}
    if config.test_share and not official and not held_out and len({room_of(one) for one in asking}) > 1:
        first = room_of(min(asking, key=lambda one: place_of(one, config.seed)))
        splits |= {one: "test" for one in metas if room_of(one) == first}
    return splits


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
    parts, refused = out / PARTS, {one.scene_id for one in rejected}
    metas = whole_parts(parts, (one for one in scene_ids if one not in refused))
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
        dropped = add_counts(meta["counts"] for meta in metas.values()).get("dropped", {})
        raise SdvlmError(
            f"{reader.root}: {len(metas)} scenes were read, but no picture gives {config.min_questions} questions; "
            f"why objects were dropped: {dropped}"
        )
    splits = _splits(metas, config)
    manifest = assemble([(splits[one], part_path(parts, one)) for one in metas], out, settings=settings)
    if not rejected:
        drop_parts(parts)
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


def _mark(allowed: frozenset[str] | None) -> str | None:
    """What a part remembers of the categories it was built with; with others it is built again."""
    return None if allowed is None else digest_of(sorted(allowed))


def _categories(reader: SceneReader, scene_id: str) -> frozenset[str]:
    scene = reader.read(scene_id)
    boxes = [*scene.objects, *(one for frame in scene.frames for one in frame.objects or ())]
    return frozenset(clean_label(one.category) for one in boxes)


def _options(reader: SceneReader) -> dict[str, Any]:
    return {name: value for name, value in vars(reader).items() if name != "root"}
