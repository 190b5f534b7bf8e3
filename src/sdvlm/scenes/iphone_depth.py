"""ScanNet++'s ``iphone/depth.bin``: LiDAR depth of every video frame, in either of its two encodings.

One raw deflate stream (no zlib header) of float32 metres for all frames; or, for each frame, a little-endian int32
count of bytes and these bytes: uint16 millimetres packed with lz4, or float32 metres as a raw deflate stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["DEPTH_SIZE", "DepthFrames", "open_iphone_depth"]

DEPTH_SIZE = (256, 192)
"""(width, height) of a frame"""

_FLOATS = 4 * DEPTH_SIZE[0] * DEPTH_SIZE[1]
_SHORTS = 2 * DEPTH_SIZE[0] * DEPTH_SIZE[1]
_CHUNK = 1 << 16
_MARK_EVERY = 64
_FARTHEST_M = 1000.0


class DepthFrames(Protocol):
    """Frames by number."""

    def depth_m(self, index: int) -> NDArray[np.float32]:
        """(192, 256) float32 metres, NaN unknown.

        Raises:
            SdvlmError: no such frame, or it is damaged.
        """


def open_iphone_depth(path: Path) -> DepthFrames:
    """Tell the encoding, and where frames lie.

    Raises:
        SdvlmError: it cannot be read, or is of neither encoding.
    """
    try:
        size = path.stat().st_size
        stream = _Stream(path)
        if stream.is_one():
            return stream
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise SdvlmError(f"{path}: cannot be read ({error.strerror})") from error
    first = int.from_bytes(head, "little", signed=True)
    if len(head) < 4 or not 0 < first <= min(size - 4, _FLOATS + 4096):
        raise SdvlmError(f"{path}: is neither one deflate stream of depth nor counted frames; is it depth.bin?")
    return _Counted(path, tuple(_places(path, size)))


def _metres(data: bytes) -> NDArray[np.float32]:
    values = np.frombuffer(data, "<f4").reshape(DEPTH_SIZE[1], DEPTH_SIZE[0])
    with np.errstate(invalid="ignore"):
        return np.where(values > 0, values, np.nan).astype(np.float32)


def _places(path: Path, size: int) -> Iterator[tuple[int, int]]:
    """Start and length of each whole frame."""
    at = 0
    with path.open("rb") as file:
        while at + 4 <= size:
            file.seek(at)
            length = int.from_bytes(file.read(4), "little", signed=True)
            if length <= 0 or at + 4 + length > size:
                return
            yield at + 4, length
            at += 4 + length


@dataclass(frozen=True)
class _Counted:
    path: Path
    places: tuple[tuple[int, int], ...]

    def depth_m(self, index: int) -> NDArray[np.float32]:
        if not 0 <= index < len(self.places):
            raise SdvlmError(f"{self.path}: has no frame {index}; {len(self.places)} frames are whole")
        start, length = self.places[index]
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(length)
        try:
            plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _FLOATS + 1)
            if len(plain) == _FLOATS:
                return _metres(plain)
        except zlib.error:
            pass
        block = require("lz4.block", "depth.bin of ScanNet++")
        try:
            plain = block.decompress(data, uncompressed_size=_SHORTS)
        except (block.LZ4BlockError, ValueError, MemoryError) as error:
            raise SdvlmError(f"{self.path}: frame {index} is neither lz4 nor deflate ({error})") from error
        if len(plain) != _SHORTS:
            raise SdvlmError(f"{self.path}: frame {index} has {len(plain)} bytes of depth; expected {_SHORTS}")
        stored = np.frombuffer(plain, "<u2").reshape(DEPTH_SIZE[1], DEPTH_SIZE[0])
        return np.where(stored > 0, stored / 1000.0, np.nan).astype(np.float32)


class _Stream:
    """All frames in one deflate stream: read in order, with places to start again from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = 0
        self._offset = 0
        self._tail = b""
        self._inflate: Any = zlib.decompressobj(-zlib.MAX_WBITS)
        self._marks: dict[int, tuple[int, bytes, Any]] = {}

    def is_one(self) -> bool:
        """Whether a first frame of depth comes out."""
        try:
            frame = self.depth_m(0)
        except SdvlmError:
            return False
        return bool((np.isnan(frame) | (frame < _FARTHEST_M)).all())

    def depth_m(self, index: int) -> NDArray[np.float32]:
        if index < 0:
            raise SdvlmError(f"{self.path}: has no frame {index}")
        mark = max((one for one in self._marks if one <= index), default=0)
        if index < self._next or mark > self._next:
            self._restart(mark)
        while self._next < index:
            self._take()
        return _metres(self._take())

    def _restart(self, mark: int) -> None:
        offset, tail, inflate = self._marks[mark]
        self._next, self._offset, self._tail, self._inflate = mark, offset, tail, inflate.copy()

    def _take(self) -> bytes:
        """The bytes of the next frame."""
        if self._next % _MARK_EVERY == 0 and self._next not in self._marks:
            self._marks[self._next] = (self._offset, self._tail, self._inflate.copy())
        at, pieces, wanted = self._next, [], _FLOATS
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while wanted:
                data = self._tail or file.read(_CHUNK)
                ended = not data
                try:
                    piece = self._inflate.decompress(data, wanted)
                except zlib.error as error:
                    self._restart(0)
                    raise SdvlmError(f"{self.path}: depth of frame {at} does not decompress ({error})") from error
                self._tail = self._inflate.unconsumed_tail
                pieces.append(piece)
                wanted -= len(piece)
                if wanted and (ended or self._inflate.eof) and not piece:
                    self._restart(0)
                    raise SdvlmError(f"{self.path}: has no frame {at}; it ends after {at} whole frames")
            self._offset = file.tell()
        self._next += 1
        return b"".join(pieces)
