"""A run on disk: who may write, which answers are there already, and what a killed run left behind.

``answers.jsonl`` grows by one line an answer and is forced to disk after each picture, so a run that is killed at any
moment goes on where it stopped. A line that was cut off is dropped and its question asked again; every other damage is
refused, since it was not made by us. The other files are written whole or not at all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = [
    "CONTROLS",
    "MAIN",
    "OFF",
    "SHUFFLED",
    "RunFolder",
    "read_json",
    "write_json",
    "write_lines",
    "writing_alone",
]

MAIN, OFF, SHUFFLED = "", "depth-off", "depth-shuffled"
CONTROLS = {OFF: "depth withheld", SHUFFLED: "another picture's depth"}
"""sub-folder of a control: what is asked there"""
_LOCK = ".lock"


class RunFolder:
    """The answers of one run, or of one of its controls.

    Args:
        path: the folder; made if it is not there. Open it inside :func:`writing_alone`.

    Raises:
        SdvlmError: a line before the last of ``answers.jsonl`` cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.dropped = _drop_torn_line(self.answers)
        self.done = {int(record["number"]) for record in self.records()}

    @property
    def answers(self) -> Path:
        """One JSON object a line: number, type, question, prompt, reference, answer, token_ids, ..."""
        return self.path / "answers.jsonl"

    def append(self, records: Sequence[dict[str, Any]]) -> None:
        """Add answers, and return when they are on the disk."""
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        with self.answers.open("ab") as stream:
            stream.write(lines.encode())
            stream.flush()
            os.fsync(stream.fileno())
        self.done.update(int(record["number"]) for record in records)

    def records(self) -> Iterator[dict[str, Any]]:
        """All answers, in the order of the file.

        Raises:
            SdvlmError: a line cannot be read.
        """
        if not self.answers.is_file():
            return
        with self.answers.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                record = _record(line)
                if record is None:
                    raise SdvlmError(
                        f"line {number} of '{self.answers}' is not an answer of a run; restore the file, or delete "
                        "that line to have its question asked again"
                    )
                yield record

    def sort(self) -> None:
        """Put the answers into the order of the data. Two runs over the same data then have the same order."""
        ordered = sorted(self.records(), key=lambda record: int(record["number"]))
        write_lines(ordered, self.answers)


def write_lines(records: Iterable[Any], path: Path) -> None:
    """JSON Lines, whole or not at all."""
    with atomic_file(path) as stream:
        for record in records:
            stream.write((json.dumps(record, ensure_ascii=False) + "\n").encode())
        stream.flush()
        os.fsync(stream.fileno())  # what takes the place of answers has to be as safe as they were


def write_json(values: Any, path: Path) -> None:
    """Indented JSON, whole or not at all."""
    with atomic_file(path) as stream:
        stream.write((json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote.

    Raises:
        SdvlmError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SdvlmError(f"no file '{path}'; give the folder of a finished run (sdvlm eval ... --out DIR)") from None
    except ValueError as error:
        raise SdvlmError(f"'{path}' is not a JSON document: {error}") from error


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """The right to write into a run folder, for one process at a time; given back even if the process is killed.

    Raises:
        SdvlmError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+b") as stream:
        if not _locked(stream):
            raise SdvlmError(f"another process is writing to '{folder}'; wait for it, or give another --out")
        yield


def _locked(stream: BinaryIO) -> bool:
    """Whether the lock could be had. The system frees it when the stream is closed or the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _drop_torn_line(path: Path) -> bool:
    """Cut off a last line that was not written to its end. Returns whether there was one."""
    if not path.is_file():
        return False
    with path.open("r+b") as stream:
        start, line = 0, b""
        for line in stream:
            start += len(line)
        if not line or (line.endswith(b"\n") and _record(line) is not None):
            return False
        stream.truncate(start - len(line))
        stream.flush()
        os.fsync(stream.fileno())
    return True


def _record(line: bytes) -> dict[str, Any] | None:
    """The answer in a line; None if there is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("number"), int) else None
