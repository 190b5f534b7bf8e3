"""Which split a room is in: decided by a hash of its name, so that more rooms change nothing about those there are."""

from __future__ import annotations

import hashlib
import re

__all__ = ["place_of", "room_of"]


def place_of(name: str, seed: int) -> float:
    """Where a room stands between 0 and 1, for ever; those below the test share are held out."""
    digest = hashlib.blake2b(f"{seed}\0{room_of(name)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def room_of(scene_id: str) -> str:
    """The room a scene shows: ScanNet's ``scene0000_00`` and ``scene0000_01`` are one."""
    return re.sub(r"^(scene\d{4})_\d{2}$", r"\1", scene_id)
