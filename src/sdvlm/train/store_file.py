"""The file that a part of the training data is kept in: SQLite, written once, read by any number of processes.

Pictures and depth that the source holds inside its own files are copied in, each once; those that lie in files of
their own are named by path. Reading goes through file reads and not through memory maps, so memory stays that of the
example asked for.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sdvlm.train.source_row import Broken, RawDepth, RawImage, RawRow
from sdvlm.types import SdvlmError

__all__ = ["LAYOUT", "naming", "open_file", "write_file"]

LAYOUT = "sdvlm-train-1"
BROKEN_KEPT = 1000
"""broken rows that are kept by name; the others are counted"""
_AT_ONCE = 512
"""rows of a transaction"""
_TOLD = 10000
"""rows between two words of progress"""
_TABLES = """
create table facts (name text primary key, value text);
create table images (id integer primary key, digest text unique, data blob, file text);
create table planes (id integer primary key, digest text unique, kind text, data blob, file text, scale real,
    source text);
create table examples (id integer primary key, same text unique, key text, held_out_by integer, pictures text,
    dialogues integer);
create table dialogues (id integer primary key, example integer, family text, body text);
create table broken (key text, reason text);
"""


def write_file(
    path: Path,
    rows: Iterable[RawRow | Broken],
    stop: bool,
    progress: Callable[[str], None] | None = None,
    state: str = "",
) -> None:
    """Write rows into a new file; rows of the same pictures, wherever they stand, become one example.

    Args:
        path: of the file; it appears when it is whole.
        rows: of a source.
        stop: whether the first broken row ends the work.
        progress: is told how many rows are read, now and then.
        state: kept with the file, to tell whether broken rows may be sound by now.

    Raises:
        SdvlmError: nothing can be trained on, the disk is full, or a row is broken and ``stop``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed; the lock is ours
        left_over.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            connection = sqlite3.connect(temporary, isolation_level=None)
            try:
                _fill(connection, rows, stop, progress, state)
            finally:
                connection.close()
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def open_file(path: Path) -> sqlite3.Connection:
    """A whole file, open for reading; it never changes, so no locks are taken.

    Raises:
        SdvlmError: it is no such file.
    """
    with naming(path):
        address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        found = connection.execute("select value from facts where name = 'layout'").fetchone()
    if found is None or found[0] != LAYOUT:
        raise SdvlmError(f"{path}: is of another version of sdvlm; delete it, it will be made again")
    return connection


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into one line that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        if "full" in str(error):
            raise SdvlmError(f"{path}: the disk is full; free some of it, or choose another cache folder") from error
        raise SdvlmError(f"{path}: cannot be read or written ({error}); delete it, it will be made again") from error


def _fill(
    connection: sqlite3.Connection,
    rows: Iterable[RawRow | Broken],
    stop: bool,
    progress: Callable[[str], None] | None,
    state: str,
) -> None:
    connection.execute("pragma journal_mode = off")  # a file that is not whole is never used
    connection.execute("pragma synchronous = off")
    connection.execute("pragma cache_size = -4096")  # KiB
    connection.executescript(_TABLES)
    connection.execute("begin")
    examples = broken = number = 0
    first: Broken | None = None
    for number, row in enumerate(rows, start=1):
        if isinstance(row, Broken):
            if stop:
                raise SdvlmError(f"{row}; leave such rows out with broken=skip")
            first, broken = first or row, broken + 1
            if broken <= BROKEN_KEPT:
                connection.execute("insert into broken values (?, ?)", astuple(row))
        else:
            examples += _add(connection, row, examples)
        if number % _AT_ONCE == 0:
            connection.execute("commit")
            connection.execute("begin")
        if number % _TOLD == 0 and progress is not None:
            progress(f"{number} rows read, {examples} pictures or texts")
    if not examples:
        raise SdvlmError(f"there is nothing to train on: {first or 'the data has no rows'}")
    connection.execute("create index of_example on dialogues (example)")
    counted = "(select count(*) from dialogues where dialogues.example = examples.id)"
    connection.execute(f"update examples set dialogues = {counted}")
    facts = {"layout": LAYOUT, "broken": str(broken), "rows": str(number), "state": state}
    connection.executemany("insert into facts values (?, ?)", facts.items())
    connection.execute("commit")


def _add(connection: sqlite3.Connection, row: RawRow, examples: int) -> bool:
    """Add a row's dialogues, to a new example unless there is one of the same pictures; whether it is new."""
    same = row.group or None
    found = connection.execute("select id from examples where same = ?", (same,)).fetchone()
    if found is None:
        pictures = [
            [_image(connection, image), _plane(connection, depth), None if camera is None else astuple(camera)]
            for image, depth, camera in zip(row.images, row.depth, row.cameras, strict=True)
        ]
        connection.execute(
            "insert into examples values (?, ?, ?, ?, ?, 0)",
            (examples, same, row.key, row.held_out_by, json.dumps(pictures)),
        )
    example = examples if found is None else found[0]
    for one in row.dialogues:
        body: dict[str, Any] = {"turns": one.turns}
        if one.answer is not None:
            body["answer"] = one.answer.to_dict()
        if one.names:
            body["names"] = one.names
        connection.execute(
            "insert into dialogues (example, family, body) values (?, ?, ?)",
            (example, one.family, json.dumps(body, ensure_ascii=False)),
        )
    return found is None


def _image(connection: sqlite3.Connection, image: RawImage) -> int:
    found = connection.execute("select id from images where digest = ?", (image.digest,)).fetchone()
    if found is None:
        values = (image.digest, image.data, image.file)
        return int(
            connection.execute("insert into images (digest, data, file) values (?, ?, ?)", values).lastrowid or 0
        )
    return int(found[0])


def _plane(connection: sqlite3.Connection, depth: RawDepth | None) -> int | None:
    if depth is None:
        return None
    name = f"{depth.digest} {depth.kind} {depth.scale_to_m}"
    found = connection.execute("select id from planes where digest = ?", (name,)).fetchone()
    if found is None:
        values = (name, depth.kind.value, depth.data, depth.file, depth.scale_to_m, depth.source)
        command = "insert into planes (digest, kind, data, file, scale, source) values (?, ?, ?, ?, ?, ?)"
        return int(connection.execute(command, values).lastrowid or 0)
    return int(found[0])
