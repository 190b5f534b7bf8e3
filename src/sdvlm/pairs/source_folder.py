"""Pictures lying in a folder and its subfolders."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sdvlm.data.msmu_picture import MAX_BYTES
from sdvlm.pairs.decode import DecodeConfig, decode
from sdvlm.pairs.source import RawPair, Refusal
from sdvlm.types import SdvlmError

__all__ = ["PICTURE_SUFFIXES", "FolderChunk", "FolderSource"]

PICTURE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".mpo"]
)
"""a file is taken for a picture by its suffix, in any case; whether it is one shows when it is decoded"""


@dataclass(frozen=True)
class FolderChunk:
    """Some pictures of a folder: their paths below ``root``."""

    key: str
    root: str
    names: tuple[str, ...]
    decode: DecodeConfig

    def read(self) -> Iterator[RawPair | Refusal]:
        """See :meth:`sdvlm.pairs.source.Chunk.read`."""
        for name in self.names:
            pair_id = _printable(name)
            try:
                decoded = decode(_read(Path(self.root, name), pair_id), pair_id, self.decode)
            except SdvlmError as error:
                yield Refusal(pair_id, str(error))
            else:
                yield RawPair(pair_id, "", decoded.image, decoded.encoded)


@dataclass(frozen=True)
class FolderSource:
    """A folder of pictures, read with its subfolders in the order of their names.

    Hidden files and folders, and files whose suffix is no picture's, are skipped and counted. Links are followed. The
    names of one folder are in memory at a time.
    """

    root: str
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    name: str = field(default="folder", init=False)
    skipped: Counter[str] = field(default_factory=Counter, init=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """See :meth:`sdvlm.pairs.source.PairSource.settings`."""
        return {"source": self.name, "decode": asdict(self.decode)}

    def chunks(self, size: int) -> Iterator[FolderChunk]:
        """See :meth:`sdvlm.pairs.source.PairSource.chunks`; a chunk's key changes with its names and file sizes."""
        if size < 1:
            raise SdvlmError(f"a chunk holds at least 1 picture; got {size}")
        self.skipped.clear()
        files = _walk(Path(self.root), "", (), self.skipped)
        number = 0
        while part := list(islice(files, size)):
            said = "\0".join(f"{name}\0{bytes_}" for name, bytes_ in part)
            digest = hashlib.blake2b(os.fsencode(said), digest_size=6).hexdigest()
            yield FolderChunk(f"{number:07d}-{digest}", self.root, tuple(name for name, _ in part), self.decode)
            number += 1
        if not number:
            told = ", ".join(f"{count} {why}" for why, count in sorted(self.skipped.items())) or "nothing"
            raise SdvlmError(f"{self.root} holds no picture (seen: {told}); pass a folder of JPEG, PNG or WebP files")


def _walk(
    folder: Path, below: str, above: tuple[tuple[int, int], ...], skipped: Counter[str]
) -> Iterator[tuple[str, int]]:
    """(path below the root, bytes) of each picture; ``above`` are device and inode of the folders around this one."""
    try:
        here = folder.stat()
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if not below:
            raise SdvlmError(f"{folder}: cannot be listed ({error.strerror})") from error
        skipped["folders that cannot be listed"] += 1
        return
    mark = (here.st_dev, here.st_ino)
    if mark in above:
        skipped["links that lead in a circle"] += 1
        return
    for entry in found:
        if entry.name.startswith("."):
            skipped["hidden"] += 1
            continue
        try:
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{below}{entry.name}/", (*above, mark), skipped)
            elif os.path.splitext(entry.name)[1].lower() not in PICTURE_SUFFIXES:
                skipped["not a picture by suffix"] += 1
            elif entry.is_file() or entry.is_symlink():
                yield f"{below}{entry.name}", _bytes_of(entry)
            else:
                skipped["not a regular file"] += 1
        except OSError:
            skipped["not readable"] += 1


def _bytes_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link to nowhere: reading it says so
        return -1


def _read(path: Path, pair_id: str) -> bytes:
    try:
        with path.open("rb") as stream:
            if (size := os.fstat(stream.fileno()).st_size) > MAX_BYTES:
                raise SdvlmError(f"{pair_id}: has {size} bytes; at most {MAX_BYTES} are read")
            return stream.read()
    except OSError as error:
        raise SdvlmError(f"{pair_id}: cannot be read ({error.strerror})") from error


def _printable(name: str) -> str:
    """A name as text that every file format takes; bytes that are no UTF-8 are written as ``\\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
