"""Jobs on a Ray cluster: a job is a Ray task of one CPU, its result comes back by value.

Nodes need this package (the same version) and read access to what the work reads; they need no shared place to write.
Runs lost with a process or a node are counted here, as in the other engine, instead of by Ray, which would repeat a
task that is out of memory for ever.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

from sdvlm.engine.job import Attempt, JobQueue, JobResult, Outcome, one_line, run_job
from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["connected", "run_on_ray"]

logger = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")

_OBJECT_STORE_BYTES = 256 * 2**20
"""of a cluster that we start: results of a few jobs; more spill to disk"""
_NEWS_S = 30.0
_KNOCK_S = 10.0


def run_on_ray(
    jobs: Iterator[tuple[str, J]], work: Callable[[J], R], workers: int | None = None, address: str | None = None
) -> Iterator[JobResult[R]]:
    """See :func:`sdvlm.engine.run_jobs`; without ``workers``, as many jobs at a time as the cluster has CPUs now."""
    ray = require("ray", "engine ray")
    with connected(ray, workers, address):
        try:
            sent = ray.put(work)
        except Exception as error:
            raise SdvlmError(f"work cannot be sent to Ray ({one_line(error)}); pass a module-level function") from error
        task = ray.remote(run_job).options(num_cpus=1, max_retries=0)
        queue, running = JobQueue(jobs), dict[Any, Attempt[J]]()

        def submit() -> None:
            while len(running) < (workers or _cpus(ray)) and (attempt := queue.take()) is not None:
                try:
                    running[task.remote(attempt.job, sent)] = attempt
                except Exception as error:
                    raise SdvlmError(f"job '{attempt.key}' cannot be sent to Ray: {one_line(error)}") from error

        try:
            submit()
            while running:
                done = _next_done(ray, running)
                attempt = running.pop(done)
                ended: JobResult[R] | None
                try:
                    outcome: Outcome[R] = ray.get(done)
                    ended = outcome.result(attempt.key)
                except (ray.exceptions.RayTaskError, ray.exceptions.RaySystemError) as error:
                    ended = JobResult(attempt.key, None, _transport_error(error), 0.0)
                except ray.exceptions.RayError as error:
                    ended = queue.lost(attempt, f"its run on the cluster was lost ({type(error).__name__})")
                del done  # lets the cluster forget the result
                submit()
                if ended is not None:
                    yield ended
        finally:
            for reference in running:
                with contextlib.suppress(Exception):
                    ray.cancel(reference, force=True)


def _next_done(ray: ModuleType, running: dict[Any, Attempt[J]]) -> Any:
    while True:
        done, _ = ray.wait(list(running), num_returns=1, timeout=_NEWS_S, fetch_local=True)
        if done:
            return done[0]
        logger.info("waiting for %d jobs on %d CPUs of the cluster", len(running), _cpus(ray))


def _cpus(ray: ModuleType) -> int:
    """CPUs of all nodes alive now, so that a node that joins is used; at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def _transport_error(error: Any) -> str:
    """The work itself never raises on a node: it could not be read there, or its result not written, or not read here.

    Raises:
        SdvlmError: the nodes lack a module that the work needs: every job would fail.
    """
    cause = getattr(error, "cause", None) or error
    missing = re.search(r"No module named '[^']*'", str(cause))
    if missing:
        raise SdvlmError(
            f"the cluster's nodes cannot import the work ({missing[0]}); install the same sdvlm on every node"
        ) from error
    said = " ".join(str(cause).partition("traceback:")[0].split())
    return f"the job or its result cannot travel: {type(cause).__name__}: {said[-300:]}"


@contextlib.contextmanager
def connected(ray: ModuleType, workers: int | None, address: str | None) -> Iterator[None]:
    """Inside: joined to a cluster. One that was joined before is kept; one that we started ends."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address in (None, "local"):
        address = "local"
        options |= {
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    else:
        _check_reachable(str(address))
    try:
        ray.init(address=address, **options)
    except Exception as error:
        raise _no_cluster(address, one_line(error)[:300]) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself knocks at a wrong address for minutes.

    Raises:
        SdvlmError: nothing answers there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # "auto", a name that Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, one_line(error).partition(" (")[0]) from error


def _no_cluster(address: str | None, why: str) -> SdvlmError:
    return SdvlmError(
        f"cannot join the Ray cluster '{address}': {why}; start one with 'ray start --head' and pass its address, or "
        "leave the address out to use this machine alone"
    )
