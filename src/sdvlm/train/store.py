"""Random access to one part of the training data, from disk: memory does not grow with it.

A part is read once into a file of its own in a cache folder, named by what it was made from (names, sizes and times of
the source's files, and the settings that decide the rows), and found again from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.msmu_picture import decode_picture
from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.train.config import DataSettings
from sdvlm.train.example import Dialogue, Example
from sdvlm.train.source_pictures import decode_raw_depth
from sdvlm.train.source_row import Broken, RawDepth
from sdvlm.train.sources import open_source, picture_state, resolved, source_files
from sdvlm.train.store_file import LAYOUT, naming, open_file, write_file
from sdvlm.types import Camera, DepthKind, SdvlmError

__all__ = ["ExampleStore"]


class ExampleStore:
    """The examples of one part of the mixture. It can be pickled: a copy opens the file again.

    Args:
        path: of a file that :meth:`open` made.
        name: of the part, in examples and reports.

    Raises:
        SdvlmError: it is no such file.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._connection: sqlite3.Connection | None = None
        self._process = -1
        with naming(path):
            facts = dict(self._ask("select name, value from facts"))
            self._length = int(self._ask("select count(*) from examples")[0][0])
            self.broken = tuple(Broken(*row) for row in self._ask("select key, reason from broken"))
            self.depth_kinds = {DepthKind(row[0]) for row in self._ask("select distinct kind from planes")}
        self.broken_rows = int(facts["broken"])

    @classmethod
    def open(cls, settings: DataSettings, cache: Path, progress: Callable[[str], None] | None = None) -> ExampleStore:
        """The store of a part, made now if it is not there.

        Processes that want the same part at once wait for the first to make it.

        Args:
            settings: of the part.
            cache: folder of such files.
            progress: is told what goes on while it is made, if that takes long.

        Raises:
            SdvlmError: the source cannot be read, holds nothing to train on, or a row is broken where that stops.
        """
        settings = resolved(settings)
        name = settings.name or Path(settings.path).name
        path = cache / f"{_made_from(settings)}.sqlite"
        told = None if progress is None else lambda said: progress(f"{name}: {said}")
        with _alone(path):
            state = picture_state(settings) if _has_broken(path) is not False else ""
            if _has_broken(path, state) is None:
                try:
                    write_file(path, open_source(settings), settings.broken == "stop", told, state)
                except SdvlmError as error:
                    raise SdvlmError(f"{name}: {error}") from error
        store = cls(path, name)
        if store.broken and settings.broken == "stop":
            raise SdvlmError(f"{name}: {store.broken[0]}; leave such rows out with broken=skip")
        if settings.depth and not store.depth_kinds:
            first = next((image for _, image in store._ask("select id, file from images limit 1")), None)
            like = Path(first).stem if first else store._ask("select digest from images limit 1")[0][0]
            raise SdvlmError(f"{name}: {settings.depth} holds no depth of any picture; wanted files as '{like}.png'")
        return store

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:
        """An example with all its dialogues, decoded.

        Raises:
            IndexError: there are not so many.
            SdvlmError: a file of it is gone or damaged; names the example.
        """
        if not -self._length <= index < self._length:
            raise IndexError(f"{self.name} has {self._length} examples; got number {index}")
        number = int(index) % self._length
        with naming(self.path):
            ((key, pictures),) = self._ask("select key, pictures from examples where id = ?", number)
            rows = self._ask("select family, body from dialogues where example = ? order by id", number)
        key = f"{self.name}: {key}"
        try:
            decoded = [self._picture(*picture) for picture in json.loads(pictures)]
        except (SdvlmError, OSError) as error:
            raise SdvlmError(f"{key}: {error}; it was whole when the data was read in") from error
        return Example(
            key,
            self.name,
            tuple(_dialogue(family, json.loads(body)) for family, body in rows),
            tuple(image for image, _, _ in decoded),
            tuple(depth for _, depth, _ in decoded),
            tuple(camera for _, _, camera in decoded),
        )

    def dialogue_counts(self) -> NDArray[np.int64]:
        """(examples,) number of dialogues of each."""
        return self._column("dialogues")

    def held_out_by(self) -> NDArray[np.int64]:
        """(examples,) the smallest hash of each example's pictures, uniform below 2**63."""
        return self._column("held_out_by")

    def families(self, index: int) -> list[str]:
        """Families of an example's dialogues, in order; its pictures are not read."""
        return [row[0] for row in self._ask("select family from dialogues where example = ? order by id", int(index))]

    @cached_property
    def family_counts(self) -> dict[str, int]:
        """Dialogues of each family."""
        return dict(self._ask("select family, count(*) from dialogues group by family order by family"))

    def _column(self, name: str) -> NDArray[np.int64]:
        with naming(self.path):
            rows = self._open().execute(f"select {name} from examples order by id")
            return np.fromiter((row[0] for row in rows), np.int64, self._length)

    def _picture(self, image: int, plane: int | None, camera: list[float] | None) -> tuple[Any, Any, Camera | None]:
        ((data, file),) = self._ask("select data, file from images where id = ?", image)
        pixels = decode_picture(Path(file).read_bytes() if data is None else data)
        depth = None
        if plane is not None:
            ((kind, png, place, scale, source),) = self._ask(
                "select kind, data, file, scale, source from planes where id = ?", plane
            )
            depth = decode_raw_depth(RawDepth("", DepthKind(kind), png, place, scale, source))
        size = pixels.shape[1], pixels.shape[0]
        known = None if camera is None else Camera(int(camera[0]), int(camera[1]), *camera[2:])
        if any(one is not None and one.size != size for one in (depth, known)):
            raise SdvlmError(f"the picture is {size[0]}x{size[1]} by now, its depth or camera is not")
        return pixels, depth, known

    def _ask(self, command: str, *values: object) -> list[Any]:
        return self._open().execute(command, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._process != os.getpid():  # a connection does not survive a fork
            self._connection, self._process = open_file(self.path), os.getpid()
        return self._connection

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_connection": None, "_process": -1}


def _dialogue(family: str, body: dict[str, Any]) -> Dialogue:
    answer = body.get("answer")
    typed = None
    if answer is not None:
        kind, values = AnswerKind(answer["kind"]), tuple(answer["values"])
        typed = TypedAnswer(kind, values, answer["unit"], answer["definition"])
    turns = tuple((role, text) for role, text in body["turns"])
    return Dialogue(turns, family, typed, tuple(body.get("names", ())))


def _made_from(settings: DataSettings) -> str:
    """Digest of all that decides the rows."""
    files = [(str(file.absolute()), *_stamp(file)) for file in source_files(settings)]
    plain = replace(settings, name="", weight=1.0, broken="skip")
    document = [LAYOUT, files, [str(value) for value in plain.__dict__.values()]]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:32]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise SdvlmError(f"{file}: belongs to the data but cannot be read ({error.strerror}); copy it again") from error
    return found.st_size, found.st_mtime_ns


def _has_broken(path: Path, state: str | None = None) -> bool | None:
    """Whether a whole file of this version holds broken rows; None: there is no such file, and a damaged one is gone.

    With a state, a file with broken rows that was made in another one is none either: they may be sound by now.
    """
    if not path.is_file():
        return None
    try:
        with naming(path):
            connection = open_file(path)
            facts = dict(connection.execute("select name, value from facts").fetchall())
            connection.close()
    except SdvlmError:
        path.unlink(missing_ok=True)
        return None
    broken = facts["broken"] != "0"
    return None if broken and state not in (None, facts["state"]) else broken


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time works on a path; the lock goes with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not on this system: two may make the same file, and the last one stays
        yield
        return
    with path.with_name(f".{path.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
