"""A run on a Ray cluster: as many processes as are asked for, wherever the cluster has room (Ray Train)."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdvlm.engine.job import one_line
from sdvlm.engine.ray_cluster import connected
from sdvlm.extras import require
from sdvlm.train.config import TrainConfig
from sdvlm.train.recipe import config_from
from sdvlm.train.run import Say, TrainResult, train
from sdvlm.train.trainer import last_checkpoint
from sdvlm.types import SdvlmError

__all__ = ["LOG", "train_on_ray"]

_PURPOSE = "training on Ray"
LOG = "log.txt"
"""in the run's folder: what the first process tells"""


def train_on_ray(
    config: TrainConfig,
    out: Path,
    workers: int,
    *,
    gpus: int = 0,
    address: str | None = None,
    say: Say | None = None,
    resume: bool = True,
    cache: Path | None = None,
) -> TrainResult:
    """``run.train`` in several processes of a Ray cluster.

    Every node must see the data, the model, ``out`` and ``cache`` under the same paths, as on any cluster. A run whose
    node was lost goes on from its last checkpoint when it is called again.

    Args:
        config: of the run; ``global_batch`` is over all workers.
        out: of the run, on storage that all nodes share.
        workers: processes.
        gpus: of each; 0: on CPUs.
        address: of the cluster; None: that of ``RAY_ADDRESS``, else one is started on this machine.
        say: is told where the workers tell what goes on.
        resume: as ``run.train``.
        cache: as ``run.train``.

    Raises:
        SdvlmError: ray is missing, the cluster has no such room, or what ``run.train`` raises in a worker.
    """
    ray, parts = require("ray", _PURPOSE), require("ray.train", _PURPOSE)
    torch_trainer = require("ray.train.torch", _PURPOSE).TorchTrainer
    out = out.resolve()
    kept = last_checkpoint(out / "checkpoints") if resume else None
    job = {
        "config": asdict(config),
        "out": str(out),
        "resume": resume,
        "cache": None if cache is None else str(cache.resolve()),
    }
    needs = {"CPU": 1, "GPU": gpus} if gpus else {"CPU": 1}
    with connected(ray, workers + 1, address):  # one CPU for Ray's own process, which watches over the workers
        _check_room(ray.cluster_resources(), workers, needs)
        if say is not None:
            say(f"{workers} workers; what they tell is in {out / LOG}")
        with _notes(out) as notes:
            trainer = torch_trainer(
                _loop,
                train_loop_config=job,
                scaling_config=parts.ScalingConfig(num_workers=workers, use_gpu=bool(gpus), resources_per_worker=needs),
                run_config=parts.RunConfig(storage_path=str(notes)),
            )
            try:
                trainer.fit()
            except Exception as error:
                raise _as_ours(error) from error
    summary = json.loads((out / "summary.json").read_bytes())
    return TrainResult(out, summary, None if kept is None else int(kept.name.split("-")[1]))


def _loop(job: dict[str, Any]) -> None:
    """In each worker; Ray has set up the process group and told the environment, as ``torchrun`` does."""
    out = Path(job["out"])
    cache = None if job["cache"] is None else Path(job["cache"])
    first = require("ray.train", _PURPOSE).get_context().get_world_rank() == 0

    def tell(line: str) -> None:
        out.mkdir(parents=True, exist_ok=True)
        with (out / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    train(config_from(job["config"]), out, tell if first else None, resume=job["resume"], cache=cache)


@contextlib.contextmanager
def _notes(out: Path) -> Iterator[Path]:
    """A folder for what Ray Train writes down about the run, which would else go into the user's home."""
    notes = out / ".ray"
    try:
        yield notes
    finally:
        shutil.rmtree(notes, ignore_errors=True)
        with contextlib.suppress(OSError):
            out.rmdir()  # of a run that was refused


def _check_room(has: Mapping[str, float], workers: int, needs: Mapping[str, float]) -> None:
    """Ray itself waits for ever.

    Raises:
        SdvlmError: the cluster has less than the workers need.
    """
    for kind, each in needs.items():
        if has.get(kind, 0) < workers * each:
            raise SdvlmError(
                f"{workers} workers of {each:g} {kind} each do not fit on the cluster, which has "
                f"{has.get(kind, 0):g} {kind}; give fewer workers, or add nodes first"
            )


def _as_ours(error: BaseException) -> SdvlmError:
    """The first line that a worker was refused with, wherever Ray has put it."""
    waiting: list[Any] = [error]
    seen: list[Any] = []
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, SdvlmError):
            return one
        if not isinstance(one, BaseException) or any(one is other for other in seen):
            continue
        seen.append(one)
        failures = getattr(one, "worker_failures", None) or {}
        inner = ("cause", "controller_failure", "_base_exc", "__cause__", "__context__")
        waiting += [failures[rank] for rank in sorted(failures)] + [getattr(one, name, None) for name in inner]
    said = [line for line in str(error).splitlines() if line.strip()]
    return SdvlmError(f"training on Ray failed: {' '.join((said or [one_line(error)])[-1].split())[:300]}")
