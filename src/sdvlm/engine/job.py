"""One job: what it gave, how it failed, and whether it is run again."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

from sdvlm.types import SdvlmError

__all__ = ["MAX_RUNS", "Attempt", "JobQueue", "JobResult", "Outcome", "one_line", "run_job"]

logger = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")

MAX_RUNS = 4
"""a job is run once, and at most three times more when its process or node is lost"""


@dataclass(frozen=True)
class JobResult(Generic[R]):
    """What became of a job: a value, or one line that says why there is none.

    Args:
        key: the job's.
        value: what the work returned; None where it failed.
        error: None, or one line: of an `SdvlmError` its text, of another exception its type, text and place.
        seconds: wall time of the work itself, in the worker.
    """

    key: str
    value: R | None
    error: str | None
    seconds: float


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """A `JobResult` without its key: what a worker sends back."""

    value: R | None
    error: str | None
    seconds: float

    def result(self, key: str) -> JobResult[R]:
        """The result of the job with that key."""
        return JobResult(key, self.value, self.error, self.seconds)


def run_job(job: J, work: Callable[[J], R]) -> Outcome[R]:
    """Do one job here; whatever it raises, except KeyboardInterrupt, becomes the outcome's error."""
    started = time.perf_counter()
    try:
        return Outcome(work(job), None, time.perf_counter() - started)
    except (Exception, SystemExit) as error:
        return Outcome(None, one_line(error), time.perf_counter() - started)


def one_line(error: BaseException) -> str:
    """An exception in one line; where it was raised is said unless it is an `SdvlmError`, which is about input."""
    text = " ".join(str(error).split())
    if isinstance(error, SdvlmError):
        return text
    place, step = "", error.__traceback__
    while step is not None:
        place = f" ({PurePath(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno})"
        step = step.tb_next
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


@dataclass(frozen=True)
class Attempt(Generic[J]):
    """A job about to be run; ``runs`` counts those that were lost before."""

    key: str
    job: J
    runs: int = 0


class JobQueue(Generic[J]):
    """Jobs still to be run: those that were lost first, then the next of the iterator, drawn when it is needed."""

    def __init__(self, jobs: Iterator[tuple[str, J]]) -> None:
        self._jobs = jobs
        self._again: deque[Attempt[J]] = deque()

    def take(self) -> Attempt[J] | None:
        """The next to run; None if there is none now (a job that is running may still be lost and come back)."""
        if self._again:
            return self._again.popleft()
        for key, job in self._jobs:
            return Attempt(key, job)
        return None

    def put_back(self, attempt: Attempt[J]) -> None:
        """A job that was taken and never begun."""
        self._again.append(attempt)

    def lost(self, attempt: Attempt[J], why: str) -> JobResult[R] | None:
        """Note that a run ended without an outcome; the result if it was the last that the job gets."""
        runs = attempt.runs + 1
        if runs >= MAX_RUNS:
            return JobResult(attempt.key, None, f"{why}, {runs} times; giving it up", 0.0)
        logger.warning("%s: %s; running it again (%d of %d)", attempt.key, why, runs, MAX_RUNS - 1)
        self._again.append(Attempt(attempt.key, attempt.job, runs))
        return None
