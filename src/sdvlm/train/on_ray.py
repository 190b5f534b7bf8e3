"""A run on a Ray cluster: as many processes as are asked for, wherever the cluster has room (Ray Train)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdvlm.engine.ray_cluster import connected
from sdvlm.extras import require
from sdvlm.train.config import TrainConfig
from sdvlm.train.recipe import config_from

__all__ = ["train_on_ray"]


def train_on_ray(
    config: TrainConfig,
    out: Path,
    workers: int,
    *,
    gpus: int = 0,
    address: str | None = None,
    resume: bool = True,
    cache: Path | None = None,
) -> dict[str, Any]:
    """``run.train`` in several processes of a Ray cluster.

    Every node must see the data, the model, ``out`` and ``cache`` under the same paths, as on any cluster.

    Args:
        config: of the run; ``global_batch`` is over all workers.
        out: of the run, an absolute path on storage that all nodes share.
        workers: processes.
        gpus: of each; 0: on CPUs.
        address: of the cluster; None: the running one, else one on this machine.
        resume: as ``run.train``.
        cache: as ``run.train``.

    Returns:
        the run's summary.

    Raises:
        SdvlmError: ray is missing, or what ``run.train`` raises in a worker.
    """
    torch_trainer = require("ray.train.torch", "training on Ray").TorchTrainer
    scaling = require("ray.train", "training on Ray").ScalingConfig
    job = {
        "config": asdict(config),
        "out": str(out.resolve()),
        "resume": resume,
        "cache": None if cache is None else str(cache.resolve()),
    }
    with connected(require("ray", "training on Ray"), workers, address):
        needs = {"resources_per_worker": {"GPU": gpus}} if gpus else {}
        trainer = torch_trainer(
            _loop, train_loop_config=job, scaling_config=scaling(num_workers=workers, use_gpu=bool(gpus), **needs)
        )
        trainer.fit()
    found: dict[str, Any] = json.loads((out / "summary.json").read_bytes())
    return found


def _loop(job: dict[str, Any]) -> None:
    """In each worker; Ray has set up the process group and told the environment, as ``torchrun`` does."""
    from sdvlm.train.run import train

    cache = None if job["cache"] is None else Path(job["cache"])
    train(config_from(job["config"]), Path(job["out"]), resume=job["resume"], cache=cache)
