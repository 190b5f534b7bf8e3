"""Training data of any supported format as one stream of rows, a few in memory at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sdvlm.data.manifest import FORMAT, MANIFEST, read_manifest
from sdvlm.data.msmu_files import find_files, read_rows
from sdvlm.train.config import DataSettings
from sdvlm.train.source_built import built_rows
from sdvlm.train.source_files import ALL_COLUMNS, file_rows
from sdvlm.train.source_pictures import DEPTH_SUFFIXES
from sdvlm.train.source_row import Broken, RawDepth, RawImage, RawRow
from sdvlm.types import DepthKind, SdvlmError

__all__ = [
    "Broken",
    "RawDepth",
    "RawImage",
    "RawRow",
    "check_kinds",
    "open_source",
    "picture_state",
    "resolved",
    "source_files",
]

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")


def open_source(settings: DataSettings) -> Iterator[RawRow | Broken]:
    """Rows of one part of the mixture in order, and what cannot be used.

    Args:
        settings: see :class:`~sdvlm.train.config.DataSettings`; ``weight``, ``name`` and ``broken`` do not matter here.

    Returns:
        an iterator; paths and format are checked before the first row is asked for.

    Raises:
        SdvlmError: nothing is there, it is of no known format, or it has no such split; pyarrow is missing.
    """
    settings = resolved(settings)
    path, apart = Path(settings.path), settings.turns == "apart"
    if settings.format == "built":
        return built_rows(path, settings.split, apart)
    files = find_files(path, settings.split)
    images, depth = (Path(place) if place else None for place in (settings.images, settings.depth))
    return file_rows(files, settings.format, apart, images, depth)


def resolved(settings: DataSettings) -> DataSettings:
    """The settings with a folder for a hub id, a format for ``auto``, and ``apart`` or ``together``.

    Raises:
        SdvlmError: nothing is there, or its format cannot be told.
    """
    if not settings.path:
        raise SdvlmError("a part of the data has no path; give a file, a folder or a hub id (data.path)")
    path = Path(settings.path)
    if not path.exists():
        path = _from_hub(settings.path)
    for what, folder in (("images", settings.images), ("depth", settings.depth)):
        if folder and not Path(folder).is_dir():
            raise SdvlmError(f"{folder}: no such folder (data.{what})")
    format = _told_format(path, settings.split) if settings.format == "auto" else settings.format
    if format == "built":
        read_manifest(path).shards(settings.split)
        if settings.depth:
            raise SdvlmError(f"{path}: data of sdvlm build brings its own depth; leave data.depth out")
    turns = settings.turns
    if turns == "auto":
        turns = "apart" if format in ("built", "msmu") else "together"
    return replace(settings, path=str(path), format=format, turns=turns)


def source_files(settings: DataSettings) -> list[Path]:
    """The files that decide the rows, in order: data files, and the depth files beside them. Not the pictures' own.

    Args:
        settings: as :func:`resolved` gives them.
    """
    path = Path(settings.path)
    if settings.format == "built":
        return [path / MANIFEST, *(path / shard.path for shard in read_manifest(path).shards(settings.split))]
    files = find_files(path, settings.split)
    if settings.depth:
        files += sorted(file for file in Path(settings.depth).rglob("*") if file.suffix in DEPTH_SUFFIXES)
    return files


def picture_state(settings: DataSettings) -> str:
    """Digest of the names, sizes and times of all picture files that rows may name; empty where rows hold pictures.

    Args:
        settings: as :func:`resolved` gives them.
    """
    if settings.format == "built":
        return ""
    path = Path(settings.path)
    folder = Path(settings.images) if settings.images else path if path.is_dir() else path.parent
    found = hashlib.sha256()
    for file in sorted(one for one in folder.rglob("*") if one.suffix.lower() in _PICTURES):
        stamp = file.stat()
        found.update(f"{file}|{stamp.st_size}|{stamp.st_mtime_ns}\n".encode())
    return found.hexdigest()[:32]


def check_kinds(parts: Mapping[str, Collection[DepthKind]], any_kind: bool = False) -> None:
    """Refuse a mixture whose depth is not all of one kind.

    Args:
        parts: the kinds of depth in each part, by its name.
        any_kind: the fusion takes every kind, each as what it is.

    Raises:
        SdvlmError: two kinds; names a part of each.
    """
    first: dict[DepthKind, str] = {}
    for name, kinds in parts.items():
        for kind in sorted(kinds):
            first.setdefault(kind, name)
    if len(first) > 1 and not any_kind:
        (one, has_one), (other, has_other) = list(first.items())[:2]
        raise SdvlmError(
            f"the mixture has two kinds of depth: '{has_one}' is {one}, '{has_other}' is {other}; "
            "train on one kind, or leave out the depth of one part"
        )


def _told_format(path: Path, split: str) -> str:
    """The format of what lies there: by the manifest of sdvlm build, else by the first row's columns."""
    if path.is_dir() and (path / MANIFEST).is_file():
        read_manifest(path, FORMAT)
        return "built"
    file = find_files(path, split)[0]
    row = next((row for row in read_rows(file, ALL_COLUMNS) if not isinstance(row, SdvlmError)), None)
    if row is None:
        raise SdvlmError(f"{file}: has no row that can be read; is it training data?")
    if row.get("messages") is not None:
        return "messages"
    if row.get("conversations") is None:
        has = ", ".join(row) or "none of them"
        raise SdvlmError(f"{file}: rows need a column 'conversations' or 'messages'; this one has {has}")
    image = row.get("image")
    beside = isinstance(image, str | list) or (image is None and row.get("image_base64") is None)
    return "llava" if beside else "msmu"


def _from_hub(name: str) -> Path:
    """The folder that a data set of the hub is downloaded to."""
    parts = name.split("/")
    if len(parts) != 2 or not all(parts) or any(part in (".", "..") for part in parts):
        raise SdvlmError(f"{name}: no such file or folder, and no hub id (owner/name)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset"))
    except Exception as error:  # the hub's client raises errors of several libraries
        said = " ".join(str(error).split())[:200]
        raise SdvlmError(f"{name}: no such file or folder here, and not from the hub either: {said}") from error
