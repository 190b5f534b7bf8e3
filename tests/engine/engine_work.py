"""Work that the engines' tests send to other processes; its own module, so that those can import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sdvlm.types import SdvlmError


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number * number


def wrong(kind: str) -> str:
    if kind == "input":
        raise SdvlmError("seen 3,\n  wanted 4")
    if kind == "bug":
        return {}["no such key"]
    if kind == "exit":
        raise SystemExit(3)
    return kind


def name_and_threads(_: object) -> tuple[int, str | None, str | None]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), os.environ.get("MKL_NUM_THREADS")


def die_if_told(job: tuple[str, int, int]) -> int:
    """Count the run in a file of the folder, and kill this very process in the first ``deaths`` runs of the job."""
    folder, number, deaths = job
    runs = len(list(Path(folder).glob(f"{number}.*")))
    Path(folder, f"{number}.{runs}").touch()
    if runs < deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_for_file(job: tuple[str, str, int]) -> int:
    """Note in the folder that the job began and where it runs, then wait until the file exists."""
    folder, gate, number = job
    (Path(folder) / f"{number}.{os.getpid()}").touch()
    while not Path(gate).exists():
        time.sleep(0.01)
    return number


def node_of(job: tuple[str, int]) -> tuple[int, str, bytes]:
    """Note the run; say on which Ray node it was, with enough bytes to live in that node's object store."""
    import ray

    folder, number = job
    node = ray.get_runtime_context().get_node_id()
    Path(folder, f"{number}.{node}.{time.time_ns()}").touch()
    time.sleep(0.3)
    return number, node, bytes([number]) * 500_000


def unsendable(_: object) -> object:
    return lambda: None


class Unreadable:
    """Can be written in one process and not read in another."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _refuse, ("nobody reads this",)


def _refuse(why: str) -> None:
    raise RuntimeError(why)


def unreadable(_: object) -> Unreadable:
    return Unreadable()
