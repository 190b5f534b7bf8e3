"""Pictures lying in a folder and its subfolders."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sdvlm.pairs.source import RawPair, Refusal
from sdvlm.pairs.source_files import check_chunk_size, chunk_key, printable, read_file
from sdvlm.pairs.source_reading import Reading
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
    reading: Reading
    folder_scenes: bool

    def read(self) -> Iterator[RawPair | Refusal]:
        """See :meth:`sdvlm.pairs.source.Chunk.read`."""
        for name in self.names:
            pair_id = printable(name)
            scene_id = pair_id.rpartition("/")[0] if self.folder_scenes else ""
            yield self.reading.pair(pair_id, partial(read_file, Path(self.root, name), pair_id), scene_id=scene_id)


@dataclass(frozen=True)
class FolderSource:
    """A folder of pictures, read with its subfolders in the order of their names.

    Hidden files and folders, and files whose suffix is no picture's, are skipped and counted. Links are followed. The
    names of one folder are in memory at a time.
    """

    root: str
    reading: Reading = field(default_factory=Reading)
    folder_scenes: bool = False
    """pictures of one folder show one scene, named by the folder's path"""
    name: str = field(default="folder", init=False)
    skipped: Counter[str] = field(default_factory=Counter, init=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """See :meth:`sdvlm.pairs.source.PairSource.settings`."""
        return {"source": self.name, "folder_scenes": self.folder_scenes, **self.reading.settings()}

    def chunks(self, size: int) -> Iterator[FolderChunk]:
        """See :meth:`sdvlm.pairs.source.PairSource.chunks`; a chunk's key changes with its names and file sizes."""
        check_chunk_size(size)
        self.skipped.clear()
        files = _walk(Path(self.root), "", (), self.skipped)
        number = 0
        while part := list(islice(files, size)):
            key = chunk_key(number, *part)
            yield FolderChunk(key, self.root, tuple(name for name, _ in part), self.reading, self.folder_scenes)
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
        names = sorted(os.listdir(folder))
    except OSError as error:
        if not below:
            raise SdvlmError(f"{folder}: cannot be listed ({error.strerror})") from error
        skipped["folders that cannot be listed"] += 1
        return
    mark = (here.st_dev, here.st_ino)
    if mark in above:
        skipped["links that lead in a circle"] += 1
        return
    for name in names:
        if name.startswith("."):
            skipped["hidden"] += 1
            continue
        found = _stat(folder / name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            yield from _walk(folder / name, f"{below}{name}/", (*above, mark), skipped)
        elif os.path.splitext(name)[1].lower() not in PICTURE_SUFFIXES:
            skipped["not a picture by suffix"] += 1
        elif found is not None and not stat.S_ISREG(found.st_mode):
            skipped["not a regular file"] += 1
        else:
            yield f"{below}{name}", -1 if found is None else found.st_size


def _stat(path: Path) -> os.stat_result | None:
    """None for a link to nowhere, or a file that is gone or forbidden: reading it says so."""
    try:
        return path.stat()
    except OSError:
        return None
