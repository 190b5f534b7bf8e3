"""Pictures in WebDataset shards: tar files in which the members of one sample lie together and share their name.

Only the headers are read when a shard is listed; a worker reads the members it needs at their positions. Nothing is
unpacked, no member's name is ever used as a path, and pickled members are not looked at.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from sdvlm.data.msmu_picture import MAX_BYTES
from sdvlm.depth.raw import one_line
from sdvlm.pairs.source import Chunk, RawPair, Refusal
from sdvlm.pairs.source_files import (
    Unreadable,
    check_chunk_size,
    chunk_key,
    files_below,
    named_files,
    open_bytes,
    printable,
    size_of,
)
from sdvlm.pairs.source_reading import Reading
from sdvlm.types import SdvlmError

__all__ = ["ShardChunk", "ShardSource", "shard_files"]

_PICTURES = ("jpg", "jpeg", "webp", "png", "bmp", "tif", "tiff", "gif", "avif", "jp2")
"""extensions of pictures; of several in one sample the first of these"""

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""first bytes of gzip, bzip2, xz and Zstandard"""


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in its tar file."""

    offset: int
    size: int


@dataclass(frozen=True)
class Sample:
    """A sample's picture and, where asked for, its depth; None: it has none."""

    pair_id: str
    picture: Member | None
    depth: Member | None


@dataclass(frozen=True)
class ShardChunk:
    """Some samples of one shard."""

    key: str
    path: str
    shown: str
    samples: tuple[Sample, ...]
    wanted: tuple[str | None, str | None]
    reading: Reading

    def read(self) -> Iterator[RawPair | Refusal]:
        """See :meth:`sdvlm.pairs.source.Chunk.read`."""
        try:
            stream = open_bytes(self.path)
        except OSError as error:
            for sample in self.samples:
                yield Refusal(sample.pair_id, f"{sample.pair_id}: {self.path} cannot be read ({one_line(error)})")
            return
        picture_name, depth_name = self.wanted
        with stream:
            for sample in self.samples:
                depth = partial(_read, stream, sample.depth, sample.pair_id, depth_name) if depth_name else None
                picture = partial(_read, stream, sample.picture, sample.pair_id, picture_name)
                yield self.reading.pair(sample.pair_id, picture, depth)


@dataclass(frozen=True)
class ShardSource:
    """The samples of one or several shards, in the order of the shards' names and of the samples in them.

    Args:
        root: what the user named.
        files: (path or fsspec URL, name to show in ids) of each shard.
        column: extension of the picture's member ("jpg", "rgb.png"); None: the first known one. Samples without any
            picture are then skipped and counted.
        depth_column: extension of the depth's member; None: there is none.
        reading: how pictures and depth are read.
    """

    root: str
    files: tuple[tuple[str, str], ...]
    column: str | None = None
    depth_column: str | None = None
    reading: Reading = field(default_factory=Reading)
    name: str = field(default="webdataset", init=False)
    skipped: Counter[str] = field(default_factory=Counter, init=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """See :meth:`sdvlm.pairs.source.PairSource.settings`."""
        columns = {"column": self.column, "depth_column": self.depth_column}
        return {"source": self.name, **columns, **self.reading.settings()}

    def chunks(self, size: int) -> Iterator[Chunk]:
        """See :meth:`sdvlm.pairs.source.PairSource.chunks`; where a shard is damaged, a chunk of one refusal."""
        check_chunk_size(size)
        self.skipped.clear()
        number, wanted = 0, (self.column, self.depth_column)
        for path, shown in self.files:
            samples = self._samples(path, shown)
            while True:
                part: list[Sample] = []
                try:
                    for sample in islice(samples, size):
                        part.append(sample)  # not extend: what was found before the damage is kept
                    damage = None
                except SdvlmError as error:
                    damage = str(error)
                if part:
                    yield ShardChunk(chunk_key(number, *part), path, shown, tuple(part), wanted, self.reading)
                    number += 1
                if damage is not None:
                    yield Unreadable(chunk_key(number, damage), Refusal(shown, damage))
                    number += 1
                if damage is not None or len(part) < size:
                    break
        if not number:
            told = ", ".join(f"{count} {why}" for why, count in sorted(self.skipped.items())) or "nothing"
            raise SdvlmError(
                f"{self.root} holds no sample with a picture (seen: {told}); name its extension (--column)"
            )

    def _samples(self, path: str, shown: str) -> Iterator[Sample]:
        """Samples of a shard; a name that comes again later in it gets a number, as ids are unique."""
        seen: Counter[str] = Counter()
        for name, members in _grouped(path, shown, self.skipped):
            picture = members.get(self.column.lower().lstrip(".")) if self.column else self._first(members)
            if picture is None and self.column is None:
                self.skipped["samples without a picture"] += 1
                continue
            depth = members.get(self.depth_column.lower().lstrip(".")) if self.depth_column else None
            seen[name] += 1
            again = f"#{seen[name]}" if seen[name] > 1 else ""
            yield Sample(f"{shown}/{name}{again}", picture, depth)

    def _first(self, members: dict[str, Member]) -> Member | None:
        others = [one for one in members if one != (self.depth_column or "").lower().lstrip(".")]
        plain = next((one for one in _PICTURES if one in others), None)
        dotted = [one for one in others if one.rpartition(".")[2] in _PICTURES]
        chosen = plain or (dotted[0] if len(dotted) == 1 else None)
        return members[chosen] if chosen is not None else None


def _grouped(path: str, shown: str, skipped: Counter[str]) -> Iterator[tuple[str, dict[str, Member]]]:
    """(name, extension -> member) of each run of members with the same name up to the first dot.

    Raises:
        SdvlmError: the shard cannot be opened, or is damaged from some place on.
    """
    name, members = "", dict[str, Member]()
    try:
        with open_bytes(path) as stream:
            if not (whole := size_of(stream)):
                raise SdvlmError(f"{shown}: {path} is empty (0 bytes)")
            if stream.read(6).startswith(_COMPRESSED):
                raise SdvlmError(f"{shown}: {path} is compressed, so its members have no position; decompress it first")
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                while (entry := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # else it keeps every header of the file
                    folder, _, base = printable(entry.name).rpartition("/")
                    stem, _, extension = base.partition(".")
                    if not entry.isreg() or entry.issparse() or not stem or not extension:
                        skipped["members of no sample"] += not entry.isdir()
                        continue
                    full = f"{folder}/{stem}".lstrip("/")
                    if full != name and members:
                        yield name, members
                        members = {}
                    name = full
                    if entry.offset_data + entry.size > whole:
                        raise SdvlmError(f"{shown}: {path} is cut short within {printable(entry.name)}")
                    members.setdefault(extension.lower(), Member(entry.offset_data, entry.size))
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        if members:
            yield name, members
        if isinstance(error, SdvlmError):
            raise
        raise SdvlmError(f"{shown}: {path} is damaged, cut short or no tar file: {one_line(error)}") from error
    if members:
        yield name, members


def _read(stream: IO[bytes], member: Member | None, pair_id: str, extension: str | None) -> bytes:
    if member is None:
        raise SdvlmError(f"{pair_id}: the sample has no member .{extension}")
    if member.size > MAX_BYTES:
        raise SdvlmError(f"{pair_id}: has {member.size} bytes; at most {MAX_BYTES} are read")
    try:
        stream.seek(member.offset)
        data = stream.read(member.size)
    except OSError as error:
        raise SdvlmError(f"{pair_id}: cannot be read ({one_line(error)})") from error
    if len(data) != member.size:
        raise SdvlmError(f"{pair_id}: the shard is cut short: {len(data)} of {member.size} bytes")
    return data


def shard_files(root: Path, split: str | None) -> tuple[tuple[str, str], ...]:
    """(path, name to show) of the tar files of a folder and its subfolders, or of the one file that is given.

    Raises:
        SdvlmError: there is none, or none of the split.
    """
    if root.is_file():
        return ((str(root), printable(root.stem)),)
    if not (files := named_files(root, files_below(root, ".tar"), split)):
        raise SdvlmError(f"{root} holds no .tar file; pass WebDataset shards")
    return files
