"""Jobs in processes of this machine, one at a time in each.

Processes are spawned, never forked: a forked child of a process with threads (torch, Embree, BLAS) may hang. Each has
its own pipe, so a killed one loses its own job and no other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from sdvlm.engine.job import Attempt, JobQueue, JobResult, Outcome, one_line, run_job
from sdvlm.types import SdvlmError

__all__ = ["ONE_THREAD", "run_in_processes", "usable_cpus"]

J = TypeVar("J")
R = TypeVar("R")

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""set to 1 in every worker: the processes are the parallelism, and sums come out alike on every machine"""

_MAX_FAILED_STARTS = 3
_STARTED = "started"
_GRACE_S = 5.0


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_in_processes(
    jobs: Iterator[tuple[str, J]], work: Callable[[J], R], workers: int | None = None
) -> Iterator[JobResult[R]]:
    """See :func:`sdvlm.engine.run_jobs`; ``workers`` processes, by default as many as there are CPUs."""
    limit, queue, failed_starts = workers or usable_cpus(), JobQueue(jobs), 0
    crew: list[_Worker[J, R]] = []  # every one of them has a job
    try:
        while True:
            while len(crew) < limit and (attempt := queue.take()) is not None:
                crew.append(_Worker(work, attempt))
            if not crew:
                return
            for worker in _ready(crew):
                told, current = worker.receive(), worker.attempt
                if isinstance(told, Outcome):
                    following = queue.take()
                    if following is not None:
                        worker.hand(following)
                    else:
                        crew.remove(worker)
                        worker.dismiss()
                    yield told.result(current.key)
                elif told == _STARTED:
                    failed_starts = 0
                elif worker.started:
                    crew.remove(worker)
                    given_up: JobResult[R] | None = queue.lost(current, f"its process {worker.death()}")
                    if given_up is not None:
                        yield given_up
                else:
                    crew.remove(worker)
                    queue.put_back(current)
                    failed_starts += 1
                    _check_starts(failed_starts, worker.death())
    finally:
        for worker in crew:
            worker.end()


def _check_starts(failed: int, how: str) -> None:
    if failed >= _MAX_FAILED_STARTS:
        raise SdvlmError(
            f"worker processes do not start: the last {failed} {how}; a script must guard what it does with "
            "if __name__ == '__main__', or use engine local"
        )


class _Worker(Generic[J, R]):
    """One process and the job it has."""

    def __init__(self, work: Callable[[J], R], attempt: Attempt[J]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(far_end, work), daemon=True)
        self.started = False
        try:
            with _one_thread_each():
                self.process.start()
        except Exception as error:
            raise SdvlmError(
                f"work cannot be sent to another process ({one_line(error)}); pass a module-level function"
            ) from error
        far_end.close()
        self.hand(attempt)

    @property
    def waitables(self) -> tuple[Connection, int]:
        """Become ready when it says something, or ends."""
        return self._connection, self.process.sentinel

    def hand(self, attempt: Attempt[J]) -> None:
        """Give it a job."""
        self.attempt = attempt
        try:
            self._connection.send((attempt.job,))
        except OSError:
            pass  # it is gone: the next receive says so
        except Exception as error:
            self.end()
            raise SdvlmError(f"job '{attempt.key}' cannot be sent to another process: {one_line(error)}") from error

    def receive(self) -> Outcome[R] | str | None:
        """An outcome, a word that it has started, or None when the process is gone."""
        try:
            if not self._connection.poll():
                return None
            told: Outcome[R] | str = self._connection.recv()
        except (EOFError, OSError):
            return None
        except Exception as error:
            return Outcome(None, f"the result cannot be read: {one_line(error)}", 0.0)
        self.started = True
        return told

    def death(self) -> str:
        """How the process ended."""
        self._connection.close()
        self.process.join(_GRACE_S)
        code = self.process.exitcode
        self.end()
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"ended with exit code {code}" if code is not None else "closed its pipe"

    def dismiss(self) -> None:
        """No more jobs: let it leave."""
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self.process.join(_GRACE_S)
        self.end()

    def end(self) -> None:
        """End it now, whatever it does."""
        self._connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _ready(crew: Sequence[_Worker[J, R]]) -> list[_Worker[J, R]]:
    """Wait until a worker has something to say or is gone."""
    told = set(wait([one for worker in crew for one in worker.waitables]))
    return [worker for worker in crew if told.intersection(worker.waitables)]


def _serve(connection: Connection, work: Callable[[Any], Any]) -> None:
    """The worker: jobs in, outcomes out, until told to leave or nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C reaches all; the one who asked ends us
    with contextlib.suppress(EOFError, OSError):
        connection.send(_STARTED)
        while True:
            try:
                told = connection.recv()
            except (EOFError, OSError):
                return
            except Exception as error:
                connection.send(Outcome(None, f"the job cannot be read: {one_line(error)}", 0.0))
                continue
            if told is None:
                return
            outcome: Outcome[Any] = run_job(told[0], work)
            try:
                connection.send(outcome)
            except OSError:
                return
            except Exception as error:
                connection.send(Outcome(None, f"the result cannot be sent: {one_line(error)}", outcome.seconds))


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children inherit the environment, and BLAS reads it on loading: it must be there before they start."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
