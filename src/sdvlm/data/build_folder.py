"""The output folder of a build while it is worked on: whose it is, and which scenes are done.

``parts`` holds one file a scene and the stamp of the settings they were built with; it goes when the data is whole.
Nothing here touches a folder that no build made.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sdvlm.data.manifest import MANIFEST, Manifest, check_shards, read_manifest
from sdvlm.data.parquet import BUILT, Layout, read_meta
from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = ["PARTS", "claim", "digest_of", "drop_parts", "finished", "part_path", "whole_parts"]

_log = logging.getLogger(__name__)

PARTS = "parts"
"""folder, inside the output, of the scenes built so far; it goes when the data is whole and nothing was rejected"""
_NOTE = "settings.txt"
_GOING = ".parts-done"


def finished(out: Path, stamp: str, layout: Layout = BUILT) -> Manifest | None:
    """The manifest of data that is whole and complete; None where there is work to do.

    Raises:
        SdvlmError: the folder holds data of other settings.
    """
    if not (out / MANIFEST).is_file() or (out / PARTS).is_dir():
        return None
    manifest = read_manifest(out, layout.format, layout.maker)
    if manifest.settings.get("stamp") != stamp:
        raise SdvlmError(f"{out} holds data of other settings or scenes; use them, or give another folder")
    shutil.rmtree(out / _GOING, ignore_errors=True)
    faults = check_shards(out, manifest, hashes=False)
    if faults:
        _log.warning("%s: %s; building it again", out, faults[0])
    return None if faults else manifest


def claim(out: Path, stamp: str, layout: Layout = BUILT) -> Path:
    """Make the folder of parts for these settings, or go on in the one that is there.

    Raises:
        SdvlmError: it holds parts of other settings, or data that no build made.
    """
    parts = out / PARTS
    note = parts / _NOTE
    if note.is_file():
        if note.read_text() != stamp:
            raise SdvlmError(f"{out} holds a build of other settings or scenes; use them, or give another folder")
        return parts
    if parts.is_dir() and any(not one.name.startswith(f".{_NOTE}") for one in parts.iterdir()):
        raise SdvlmError(f"{parts} holds files that no build of these settings made; give another folder")
    if not (out / MANIFEST).is_file() and any((out / "data").glob("*.parquet")):
        raise SdvlmError(f"{out / 'data'} holds data that {layout.maker} did not write; give another folder")
    with atomic_file(note) as stream:
        stream.write(stamp.encode())
    return parts


def drop_parts(parts: Path) -> None:
    """Remove the parts: gone at once under their name, so that a kill on the way leaves no half of them."""
    going = parts.with_name(_GOING)
    shutil.rmtree(going, ignore_errors=True)
    parts.replace(going)
    shutil.rmtree(going)


def part_path(parts: Path, scene_id: str) -> Path:
    """Where a scene's part lies; ids that are no plain file names are made so, and stay unique."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", scene_id)
    as_it_is = plain == scene_id and len(plain) <= 120 and plain[0] != "."
    return parts / f"{scene_id if as_it_is else f'{plain[:100]}-{digest_of(scene_id)}'}.parquet"


def whole_parts(parts: Path, scene_ids: Iterable[str], layout: Layout = BUILT) -> dict[str, dict[str, Any]]:
    """What the parts that can be read say of their scenes; those cut short are as if they were not there."""
    found = {}
    for scene_id in scene_ids:
        path = part_path(parts, scene_id)
        try:
            if path.is_file():
                found[scene_id] = read_meta(path, layout)
        except SdvlmError:
            continue
    return found


def digest_of(value: Any) -> str:
    """A short digest of plain JSON values."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=12).hexdigest()
