"""One row of training data as it will be kept: encoded pictures and depth, and the dialogues about them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sdvlm.train.example import Dialogue
from sdvlm.types import Camera, DepthKind

__all__ = ["Broken", "RawDepth", "RawImage", "RawRow", "digest"]


def digest(data: bytes) -> str:
    """SHA-256, its first 128 bits in hex: the name of content."""
    return hashlib.sha256(data).hexdigest()[:32]


@dataclass(frozen=True)
class RawImage:
    """An encoded picture that is known to decode.

    Args:
        digest: of its bytes.
        size: (width, height) in pixels, upright.
        data: its bytes; None where they lie in a file of their own,
        file: namely this one.
    """

    digest: str
    size: tuple[int, int]
    data: bytes | None = field(default=None, repr=False)
    file: str | None = None


@dataclass(frozen=True)
class RawDepth:
    """An encoded depth map that is known to decode, of the size of its picture.

    Args:
        digest: of its bytes.
        kind: what its numbers mean.
        data: a 16-bit PNG in millimetres; None where the map lies in a file of any known format,
        file: namely this one.
        scale_to_m: metres per number stored in the file, where the data says so.
        source: who made it.
    """

    digest: str
    kind: DepthKind
    data: bytes | None = field(default=None, repr=False)
    file: str | None = None
    scale_to_m: float | None = None
    source: str = "unknown"


@dataclass(frozen=True)
class RawRow:
    """A row: pictures (one, several or none) with what is known of them, and dialogues.

    Args:
        key: where it stands: file and row, or its own id.
        images: in order.
        depth, cameras: of each picture, or None.
        dialogues: at least one.
    """

    key: str
    images: tuple[RawImage, ...]
    depth: tuple[RawDepth | None, ...]
    cameras: tuple[Camera | None, ...]
    dialogues: tuple[Dialogue, ...]

    @property
    def image_key(self) -> str:
        """Content hash of the pictures; rows about the same pictures share it. Empty without pictures."""
        return digest("".join(image.digest for image in self.images).encode()) if self.images else ""

    @property
    def group(self) -> str:
        """As :attr:`image_key`, of pictures, depth and cameras: rows that can be one example share it."""
        if not self.images:
            return ""
        seen = [None if one is None else (one.digest, one.kind.value, one.scale_to_m) for one in self.depth]
        return digest(repr((self.image_key, seen, self.cameras)).encode())

    @property
    def held_out_by(self) -> int:
        """Number below 2**63, uniform over pictures: the smallest of its pictures' digests; of text alone, of the text.

        Whoever leaves out all rows below a number leaves out every row with any of the pictures below it.
        """
        names: Sequence[str] = [image.digest for image in self.images]
        names = names or [digest(repr([dialogue.turns for dialogue in self.dialogues]).encode())]
        return min(int(name[:16], 16) >> 1 for name in names)


@dataclass(frozen=True)
class Broken:
    """A row, or a dialogue of it, that cannot be trained on.

    Args:
        key: as in :class:`RawRow`.
        reason: why, in one line.
    """

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"
