"""What sources share: files opened and read, chunks named, names made printable."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sdvlm.data.msmu_picture import MAX_BYTES
from sdvlm.extras import require
from sdvlm.pairs.source import Refusal
from sdvlm.types import SdvlmError

__all__ = [
    "Unreadable",
    "check_chunk_size",
    "chunk_key",
    "files_below",
    "named_files",
    "of_split",
    "open_bytes",
    "printable",
    "read_file",
    "size_of",
]


@dataclass(frozen=True)
class Unreadable:
    """A chunk for a file of a source that cannot be opened: one refusal, so that it is told with the others."""

    key: str
    refusal: Refusal

    def read(self) -> Iterator[Refusal]:
        """The refusal."""
        yield self.refusal


def open_bytes(path: str) -> IO[bytes]:
    """A file on this machine, or one that fsspec opens ("hf://datasets/..."), for reading at any position."""
    if "://" not in path:
        return open(path, "rb")
    fsspec = require("fsspec", "reading files of the hub")
    opened: IO[bytes] = fsspec.open(path, "rb").open()
    return opened


def size_of(stream: IO[bytes]) -> int:
    """Bytes of an open file; its position is at the start afterwards."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


def read_file(path: Path, name: str) -> bytes:
    """The bytes of a file, unless it is larger than any picture.

    Raises:
        SdvlmError: it is too large, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            if (size := os.fstat(stream.fileno()).st_size) > MAX_BYTES:
                raise SdvlmError(f"{name}: has {size} bytes; at most {MAX_BYTES} are read")
            return stream.read()
    except OSError as error:
        raise SdvlmError(f"{name}: cannot be read ({error.strerror})") from error


def chunk_key(number: int, *content: object) -> str:
    """Key of a chunk: its number, so that keys sort, and a digest of what it refers to, so that it changes with it."""
    text = "\0".join(str(one) for one in content)
    return f"{number:07d}-{hashlib.blake2b(os.fsencode(text), digest_size=6).hexdigest()}"


def check_chunk_size(size: int) -> None:
    """Refuse chunks of nothing."""
    if size < 1:
        raise SdvlmError(f"a chunk holds at least 1 picture; got {size}")


def printable(name: str) -> str:
    """A file name as text that every format takes; bytes that are no UTF-8 are written as ``\\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def of_split(names: Collection[str], split: str | None, root: object) -> set[str]:
    """Of files named as the hub names them ("data/train-00000-of-00002", "test/0001"), those of a split; None: all.

    Raises:
        SdvlmError: none is of the split.
    """
    if split is None or not names:
        return set(names)
    kept = {
        name
        for name in names
        if split in name.split("/") or re.match(rf"{re.escape(split)}[-_.\d]", name.rpartition("/")[2])
    }
    if not kept:
        some = ", ".join(sorted(names)[:4])
        raise SdvlmError(f"{root} has no file of split '{split}'; it has {some}{' ...' if len(names) > 4 else ''}")
    return kept


def files_below(root: Path, suffix: str) -> Iterator[Path]:
    """Files of a folder and its subfolders with this suffix, hidden ones left out; in no order."""
    for path in root.rglob(f"*{suffix}"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts):
            yield path


def named_files(root: Path, paths: Iterable[Path], split: str | None) -> tuple[tuple[str, str], ...]:
    """(path, name to show in ids) of files below a folder, in the order of their paths, those of a split.

    Raises:
        SdvlmError: none is of the split.
    """
    shown = {path: printable(path.relative_to(root).with_suffix("").as_posix()) for path in sorted(paths)}
    kept = of_split(shown.values(), split, root)
    return tuple((str(path), name) for path, name in shown.items() if name in kept)
