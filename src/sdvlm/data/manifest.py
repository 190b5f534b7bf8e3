"""The manifest of built data: which files belong to it, what they hold, and what they were built with.

It is written last. A folder without one is unfinished, and a file that is not in it is no part of the data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = [
    "FORMAT",
    "MAKER",
    "MANIFEST",
    "Manifest",
    "Shard",
    "add_counts",
    "check_shards",
    "hash_file",
    "read_manifest",
]

MANIFEST = "manifest.json"
FORMAT = "sdvlm-built-1"
"""of questions about pictures; RGB-D pairs have another"""
MAKER = "sdvlm build"
_MAX_BYTES = 256 << 20

Counts = dict[str, Any]
"""Whole numbers by name, grouped at any depth: ``{"questions": 12, "types": {"count": 3}}``."""


@dataclass(frozen=True)
class Shard:
    """One data file.

    Args:
        path: relative to the folder, with "/".
        split: "train", "test", ...
        rows: of the file.
        bytes: its size.
        sha256: of its bytes.
    """

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a folder of built data holds.

    Args:
        files: in the order of their rows.
        per: what one row holds in each split: "picture", "question" or "pair".
        counts: for each split, what is in it and what was dropped for which reason.
        settings: what it was built with; plain JSON values.
        versions: of what wrote it.
        format: of the rows.
    """

    files: tuple[Shard, ...]
    per: dict[str, str]
    counts: dict[str, Counts] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    format: str = FORMAT

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order of the files."""
        return tuple(dict.fromkeys(shard.split for shard in self.files))

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Files of a split.

        Raises:
            SdvlmError: there is no such split.
        """
        found = tuple(shard for shard in self.files if shard.split == split)
        if not found:
            raise SdvlmError(f"no split {split!r} in this data; it has {', '.join(self.splits) or 'none'}")
        return found

    def write(self, out: Path) -> Path:
        """Write it into the folder; the data is finished from then on."""
        document = asdict(self)
        with atomic_file(out / MANIFEST) as stream:
            stream.write(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return out / MANIFEST


def read_manifest(out: Path, format: str = FORMAT, maker: str = MAKER) -> Manifest:
    """The manifest of a folder of built data.

    Args:
        out: the folder.
        format: of the rows that are wanted.
        maker: the verb that writes such a folder, for messages.

    Raises:
        SdvlmError: there is none (the build is unfinished), or it is damaged or of another format.
    """
    path = out / MANIFEST
    if not path.is_file():
        why = "no such folder" if not out.is_dir() else f"holds no {MANIFEST}, so it is no finished build"
        raise SdvlmError(f"{out}: {why}; wanted the OUT folder of {maker}; run it again to finish it")
    if path.stat().st_size > _MAX_BYTES:
        raise SdvlmError(f"{path}: has {path.stat().st_size} bytes; at most {_MAX_BYTES} are read")
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != format:
            raise SdvlmError(
                f"{path}: is of format {document['format']!r}; wanted {format!r}, the OUT folder of {maker}"
            )
        files = tuple(Shard(**entry) for entry in document["files"])
        rest = {name: document[name] for name in ("per", "counts", "settings", "versions", "format")}
        manifest = Manifest(files, **rest)
        outside = [shard.path for shard in files if not _lies_inside(out, shard.path)]
    except SdvlmError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SdvlmError(f"{path}: is damaged ({type(error).__name__}: {error}); build the data again") from error
    if outside:
        raise SdvlmError(f"{path}: names a file outside its folder ({outside[0]}); build the data again")
    return manifest


def check_shards(out: Path, manifest: Manifest, *, hashes: bool = True) -> list[str]:
    """What is wrong with the files of built data, one line each; empty if they are as they were written.

    Args:
        out: its folder.
        manifest: as read from it.
        hashes: compare the bytes too, not only that they are there and how many.
    """
    faults = []
    for shard in manifest.files:
        path = out / shard.path
        if not path.is_file():
            faults.append(f"{shard.path}: is missing")
        elif path.stat().st_size != shard.bytes:
            faults.append(f"{shard.path}: has {path.stat().st_size} bytes, was written with {shard.bytes}")
        elif hashes and hash_file(path) != shard.sha256:
            faults.append(f"{shard.path}: its bytes are not those written")
    return faults


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def add_counts(parts: Iterable[Mapping[str, Any]]) -> Counts:
    """The sum of counts of several parts, name by name; names in order.

    Raises:
        SdvlmError: a name stands for a number in one part and for a group in another.
    """
    total: Counts = {}
    for part in parts:
        for name, value in part.items():
            so_far = total.get(name)
            if isinstance(value, Mapping) and (so_far is None or isinstance(so_far, dict)):
                total[name] = add_counts([so_far or {}, value])
            elif isinstance(value, int | float) and not isinstance(so_far, dict):
                total[name] = (so_far or 0) + value
            else:
                raise SdvlmError(f"counts of the parts do not fit together at {name!r}: {so_far!r} and {value!r}")
    return dict(sorted(total.items()))


def _lies_inside(out: Path, name: str) -> bool:
    return not Path(name).is_absolute() and (out / name).resolve().is_relative_to(out.resolve())
