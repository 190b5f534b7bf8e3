"""How fast scenes become questions, where the time and the memory go, and what more workers bring."""

from __future__ import annotations

import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sdvlm.bench.build_source import Copies, write_bench_rooms
from sdvlm.bench.build_spans import STAGES, timed_stages
from sdvlm.bench.timing import Timing, alternate, ratio
from sdvlm.data.build import BuildResult, build
from sdvlm.data.build_config import BuildConfig
from sdvlm.data.manifest import Manifest
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.extras import is_installed, require
from sdvlm.machine import peak_memory_mb
from sdvlm.scenes.reader import SceneReader
from sdvlm.types import SdvlmError

__all__ = ["BuildCost", "BuildTask", "bench_build", "measure_build"]

MSMU = {"images": 25_000, "questions": 700_000}
_SCENES, _MANY_SCENES = (10, 100), (10, 1000)
"""numbers of scenes whose peak memory is compared"""
_MEMORY_FRAMES = 2
"""frames of each scene where memory is measured: scenes are what may add up"""
R = TypeVar("R")


def bench_build(
    scenes: int = 8,
    frames: int = 12,
    repeats: int = 3,
    workers: int = 2,
    peer: bool = False,
    big: bool = False,
    rooms: int = 4,
    size: tuple[int, int] = (640, 480),
    seed: int = 0,
) -> dict[str, Any]:
    """Build furnished rooms, without a model that names or reasons.

    Args:
        scenes: scenes of a build; rooms are read from disk again for each.
        frames: pictures of each.
        repeats: timed turns.
        workers: of the larger number of processes, and of Ray (left out where it is not installed).
        peer: also time the per-object work of a peer's pipeline (:mod:`sdvlm.bench.build_peer`).
        big: compare the memory of 10 scenes with that of 1,000 (minutes), not with that of 100.
        rooms: different rooms there are.
        size: width, height of the pictures.
        seed: of the rooms.
    """
    if min(scenes, frames, repeats, workers, rooms) < 1:
        raise SdvlmError("a build bench needs at least one scene, frame, repeat, worker and room")
    with tempfile.TemporaryDirectory() as folder:
        reader = write_bench_rooms(Path(folder) / "rooms", min(rooms, scenes), frames, size, seed)
        source, config = Copies(reader, scenes), BuildConfig(frames_per_scene=frames)
        costs = [_alone(BuildTask(source, config, timed=True), measure_build) for _ in range(repeats)]
        result = _rates(costs) | {"size": list(size), "scenes": scenes, "processor_time": _shares(costs)}
        few = BuildConfig(frames_per_scene=_MEMORY_FRAMES)
        counts = _MANY_SCENES if big else _SCENES
        result["memory"] = _memory([_alone(BuildTask(Copies(reader, n), few), measure_build) for n in counts], counts)
        result |= _engines(source, config, Path(folder), workers, repeats)
        if peer:
            from sdvlm.bench.build_peer import compare_with_peer

            result["peer"] = _alone((reader, repeats), partial(_unpacked, compare_with_peer))
    return result


@dataclass(frozen=True)
class BuildTask:
    """A build to measure; ``timed``: whether stage by stage."""

    reader: SceneReader
    config: BuildConfig
    timed: bool = False


@dataclass(frozen=True)
class BuildCost:
    """What a build in one process took.

    Args:
        pictures: built.
        questions: asked about them.
        wall_s: seconds; for a timed task, imports are not counted.
        processor_s: seconds of the processor, which a busy machine does not stretch.
        worker_mb: most memory the process had until all scenes were built, MiB.
        peak_mb: most memory it ever had, with the shards assembled, MiB.
        stages: processor seconds by stage; empty if not timed.
    """

    pictures: int
    questions: int
    wall_s: float
    processor_s: float
    worker_mb: float
    peak_mb: float
    stages: Mapping[str, float]


def measure_build(task: BuildTask) -> BuildCost:
    """Build into a folder that is thrown away, in this process; meant for one that does nothing else."""
    if task.timed:  # a scene first, so that imports are not counted
        measure_build(BuildTask(Copies(task.reader, 1), task.config))
    worker_mb = 0.0

    def note(*_: object) -> None:
        nonlocal worker_mb
        worker_mb = peak_memory_mb()

    with tempfile.TemporaryDirectory() as folder, timed_stages(STAGES if task.timed else {}) as spans:
        wall, processor = time.perf_counter(), time.process_time()
        manifest = _built(build(task.reader, Path(folder) / "out", task.config, progress=note))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    pictures, questions = _held(manifest)
    return BuildCost(pictures, questions, wall, processor, worker_mb, peak_memory_mb(), dict(spans.seconds))


def _alone(job: Any, work: Callable[[Any], R]) -> R:
    """Do one job in a fresh process with one thread."""
    (result,) = run_jobs([("measured", job)], work, EngineConfig("processes", 1))
    if result.value is None:
        raise SdvlmError(result.error or "the measured process gave nothing")
    return result.value


def _unpacked(function: Callable[..., R], arguments: Sequence[Any]) -> R:
    return function(*arguments)


def _built(result: BuildResult) -> Manifest:
    if result.manifest is None or result.rejected:
        raise SdvlmError(f"the bench's own rooms were not built: {result.rejected[:1]}")
    return result.manifest


def _held(manifest: Manifest) -> tuple[int, int]:
    counts = manifest.counts.values()
    return sum(one["pictures"] for one in counts), sum(one["questions"] for one in counts)


def _rates(costs: Sequence[BuildCost]) -> dict[str, Any]:
    """Per second and core, and what that means for a data set like MSMU."""
    pictures, questions = costs[0].pictures, costs[0].questions

    def rate(many: int, seconds: Sequence[float]) -> dict[str, Any]:
        rates = [many / one for one in seconds]
        return {"median": round(statistics.median(rates), 2), "range": [round(pick(rates), 2) for pick in (min, max)]}

    processor, wall = [one.processor_s for one in costs], [one.wall_s for one in costs]
    frames, asked = rate(pictures, processor), rate(questions, processor)
    hours = max(MSMU["images"] / frames["median"], MSMU["questions"] / asked["median"]) / 3600
    return {
        "frames_per_second_and_core": frames,
        "questions_per_second_and_core": asked,
        "frames_per_second_as_busy_as_the_machine_was": rate(pictures, wall),
        "core_hours_for_25000_images_and_700000_questions": round(hours, 2),
        "pictures": pictures,
        "questions": questions,
    }


def _shares(costs: Sequence[BuildCost]) -> dict[str, Any]:
    """By stage: share of the processor time, and milliseconds a frame."""
    total, pictures = sum(one.processor_s for one in costs), sum(one.pictures for one in costs)
    seconds = {stage: sum(one.stages.get(stage, 0.0) for one in costs) for stage in STAGES}
    seconds["other"] = total - sum(seconds.values())
    return {
        stage: {"share": round(one / total, 3), "ms_per_frame": round(1000 * one / pictures, 1)}
        for stage, one in seconds.items()
    }


def _memory(costs: Sequence[BuildCost], counts: Sequence[int]) -> dict[str, Any]:
    """Peak of building scenes, and with the shards assembled (a row group at a time), by the number of scenes."""
    return {
        "worker_mb": {str(count): round(cost.worker_mb, 1) for count, cost in zip(counts, costs, strict=True)},
        "with_assembly_mb": {str(count): round(cost.peak_mb, 1) for count, cost in zip(counts, costs, strict=True)},
        "frames_per_scene": _MEMORY_FRAMES,
        "worker_grows_by": round(costs[-1].worker_mb / costs[0].worker_mb - 1, 3),
    }


def _engines(source: SceneReader, config: BuildConfig, folder: Path, workers: int, repeats: int) -> dict[str, Any]:
    """Whole builds, start of the workers included, in turns; whether all wrote the same bytes."""
    chosen = {
        "local": EngineConfig(),
        "1 process": EngineConfig("processes", 1),
        f"{workers} processes": EngineConfig("processes", workers),
    }
    if is_installed("ray"):
        chosen[f"{workers} Ray workers"] = EngineConfig("ray", workers)
    written: dict[str, set[tuple[str, ...]]] = {name: set() for name in chosen}

    def run(name: str) -> None:
        out = folder / "out"
        manifest = _built(build(source, out, config, chosen[name]))
        written[name].add(tuple(one.sha256 for one in manifest.files))
        shutil.rmtree(out)

    with _ray(workers) if is_installed("ray") else nullcontext():
        times = alternate({name: partial(run, name) for name in chosen}, repeats, warmup=0)
    return {
        "same_bytes": len(set.union(*written.values())) == 1,
        "engines": [_engine_row(name, timing, times["1 process"]) for name, timing in times.items()],
    }


def _engine_row(name: str, timing: Timing, one: Timing) -> dict[str, Any]:
    return {"engine": name, **timing.to_dict(), "speedup_over_1_process": ratio(one, timing)}


@contextmanager
def _ray(workers: int) -> Iterator[None]:
    """A cluster of this machine that is there, with its workers, before the clock starts, as a real one is."""
    ray = require("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=2**28,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _system_config={"worker_niceness": 0},  # as the processes it is compared with, which share the machine alike
    )
    try:
        for _ in run_jobs([(str(one), one) for one in range(2 * workers)], _import_all, EngineConfig("ray", workers)):
            pass
        yield
    finally:
        ray.shutdown()


def _import_all(_: int) -> None:
    """Reading this module where a job runs is all there is to it."""
