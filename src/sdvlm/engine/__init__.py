"""Map work over many jobs: in this process, in several, or on a Ray cluster; the same results in all three.

A job is a key and a small value (which scene to build), the work a module-level function or a ``functools.partial`` of
one. Results come back by value, in the order they finish; what must not depend on the engine (random numbers, names of
files) is made from the job, never from the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from sdvlm.engine.job import JobResult, run_job
from sdvlm.types import SdvlmError

__all__ = ["EngineConfig", "EngineKind", "JobResult", "run_jobs"]

J = TypeVar("J")
R = TypeVar("R")

EngineKind = Literal["local", "processes", "ray"]


@dataclass(frozen=True)
class EngineConfig:
    """Where work is done.

    Raises:
        SdvlmError: no such engine, fewer than one worker, or settings that the engine would ignore.
    """

    kind: EngineKind = "local"
    """``local``: one job after another in this process; ``processes``: on this machine; ``ray``: on a cluster"""
    workers: int | None = None
    """jobs done at the same time; None: 1 for local, the CPUs this process may use, or those of the whole cluster"""
    address: str | None = None
    """Ray only: "host:6379", "auto" (the cluster running on this machine) or "ray://host:10001"; None: what the
    variable RAY_ADDRESS says, else a cluster of this machine alone that ends with the run"""

    def __post_init__(self) -> None:
        if self.kind not in get_args(EngineKind):
            raise SdvlmError(f"no engine '{self.kind}'; choose one of {', '.join(get_args(EngineKind))}")
        if self.workers is not None and self.workers < 1:
            raise SdvlmError(f"an engine needs at least 1 worker; got {self.workers}")
        if self.kind == "local" and self.workers not in (None, 1):
            raise SdvlmError(f"engine local does one job at a time; choose processes or ray for {self.workers} workers")
        if self.kind != "ray" and self.address is not None:
            raise SdvlmError(f"only engine ray has an address; got '{self.address}' for engine {self.kind}")


def run_jobs(
    jobs: Iterable[tuple[str, J]], work: Callable[[J], R], config: EngineConfig | None = None
) -> Iterator[JobResult[R]]:
    """Do all jobs, each exactly once as far as the caller can see.

    Jobs are drawn as they are needed: at most one more than there are workers is drawn and not given back, so memory is
    bounded whatever the number of jobs. Work that raises becomes a result with an error and takes nothing else down.
    A job whose process is killed or whose node is lost is run again, at most three times. Closing the iterator, or
    KeyboardInterrupt, ends the workers.

    Args:
        jobs: key, unique, and job of each; a job must be picklable, except for ``local``.
        work: does one job; a module-level function (or a partial of one) that the workers can import.
        config: where; by default in this process.

    Yields:
        A result for each job, in the order they finish.

    Raises:
        SdvlmError: two jobs share a key, the workers cannot be started, or the work or a job cannot be sent to them.
    """
    config = config or EngineConfig()
    if config.kind == "processes":
        from sdvlm.engine.processes import run_in_processes

        return run_in_processes(_unique(jobs), work, config.workers)
    if config.kind == "ray":
        from sdvlm.engine.ray_cluster import run_on_ray

        return run_on_ray(_unique(jobs), work, config.workers, config.address)
    return _run_here(_unique(jobs), work)


def _run_here(jobs: Iterator[tuple[str, J]], work: Callable[[J], R]) -> Iterator[JobResult[R]]:
    for key, job in jobs:
        yield run_job(job, work).result(key)


def _unique(jobs: Iterable[tuple[str, J]]) -> Iterator[tuple[str, J]]:
    seen: set[str] = set()
    for key, job in jobs:
        if key in seen:
            raise SdvlmError(f"two jobs have the key '{key}'; keys must be unique")
        seen.add(key)
        yield key, job
