"""ScanNet's ``.sens`` stream, version 4: colour, depth and poses of a scan in one little-endian file.

Layout: uint32 version; uint64 length and bytes of the sensor's name; four 4x4 float32 matrices (intrinsic and
extrinsic of colour, then of depth); int32 colour and depth compression; uint32 colour width, height, depth width,
height; float32 depth units a metre; uint64 number of frames; then for each frame a 4x4 float32 camera-to-world, two
uint64 time stamps, the uint64 sizes of colour and depth, and their bytes. (Facts: ScanNet's SensReader.) What follows
the frames (inertial measurements) is not read.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.raw import check_size
from sdvlm.scenes.pictures import decode_color
from sdvlm.types import SdvlmError

__all__ = ["FRAME_HEAD", "ColorCompression", "DepthCompression", "SensFile", "SensHeader", "open_sens"]

FRAME_HEAD = struct.Struct("<16f4Q")
"""pose, two time stamps, bytes of colour, bytes of depth"""
_MAX_FRAMES = 1_000_000
_MAX_NAME = 4096


class ColorCompression(IntEnum):
    """How colour is stored."""

    RAW = 0
    """RGB bytes, row by row"""
    PNG = 1
    JPEG = 2


class DepthCompression(IntEnum):
    """How depth is stored."""

    RAW = 0
    """uint16, row by row"""
    ZLIB = 1
    """the same as a zlib stream"""
    OCCI = 2
    """another coder, which we do not read"""


@dataclass(frozen=True, eq=False)
class SensHeader:
    """What precedes the frames.

    Args:
        intrinsic_color, intrinsic_depth: (4, 4), pixel centres at integers.
        extrinsic_color, extrinsic_depth: (4, 4).
        color_size, depth_size: (width, height).
        color_compression, depth_compression: of every frame.
        depth_shift: stored depth units a metre.
        sensor: its name.
    """

    intrinsic_color: NDArray[np.float64]
    extrinsic_color: NDArray[np.float64]
    intrinsic_depth: NDArray[np.float64]
    extrinsic_depth: NDArray[np.float64]
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    color_compression: ColorCompression = ColorCompression.JPEG
    depth_compression: DepthCompression = DepthCompression.ZLIB
    depth_shift: float = 1000.0
    sensor: str = "StructureSensor"


@dataclass(frozen=True, eq=False)
class SensFile:
    """A stream whose frames are read one by one, in any order, each straight from its place in the file.

    Args:
        path: the file.
        header: sizes, cameras, compressions.
        poses: (N, 4, 4) float64 camera-to-world of the N frames that are whole.
        declared: how many frames the header promises; more than N if the file is cut short.
        cut: why the frames from N on cannot be read, None if all are whole.
    """

    path: Path
    header: SensHeader
    poses: NDArray[np.float64]
    declared: int
    cut: str | None
    _places: NDArray[np.int64]
    """(N, 3): where a frame's colour starts, bytes of colour, bytes of depth"""

    def __len__(self) -> int:
        return len(self.poses)

    def color_bytes(self, index: int) -> bytes:
        """The stored colour of a frame: a JPEG or PNG file, or raw RGB."""
        start, color, _ = self._place(index)
        return self._read(start, color)

    def color(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of a frame.

        Raises:
            SdvlmError: no such frame, or its picture is damaged.
        """
        data, (width, height) = self.color_bytes(index), self.header.color_size
        if self.header.color_compression is not ColorCompression.RAW:
            return decode_color(data, f"{self.path}: frame {index}", (width, height))
        if len(data) != 3 * width * height:
            raise SdvlmError(f"{self.path}: frame {index} holds {len(data)} bytes for {width}x{height} RGB pixels")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def depth_m(self, index: int) -> NDArray[np.float32]:
        """(H, W) float32 metres of a frame, NaN where it stores 0.

        Raises:
            SdvlmError: no such frame, or its depth is damaged.
        """
        (start, color, size), (width, height) = self._place(index), self.header.depth_size
        data, wanted = self._read(start + color, size), 2 * width * height
        if self.header.depth_compression is DepthCompression.ZLIB:
            try:
                data = zlib.decompressobj().decompress(data, wanted + 1)
            except zlib.error as error:
                raise SdvlmError(f"{self.path}: depth of frame {index} does not decompress ({error})") from error
        if len(data) != wanted:
            raise SdvlmError(
                f"{self.path}: depth of frame {index} has {len(data)} bytes; {width}x{height} take {wanted}"
            )
        stored = np.frombuffer(data, "<u2").reshape(height, width)
        return np.where(stored > 0, stored / self.header.depth_shift, np.nan).astype(np.float32)

    def _place(self, index: int) -> tuple[int, int, int]:
        if not 0 <= index < len(self):
            why = f" ({self.cut})" if self.cut and index < self.declared else ""
            raise SdvlmError(f"{self.path}: no frame {index}; it has frames 0..{len(self) - 1}{why}")
        start, color, depth = self._places[index].tolist()
        return start, color, depth

    def _read(self, start: int, size: int) -> bytes:
        with self.path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(size)
        if len(data) != size:
            raise SdvlmError(f"{self.path}: became shorter while it was read; is it still being copied?")
        return data


def open_sens(path: Path | str) -> SensFile:
    """Read the header and where each frame lies; pictures stay in the file.

    A file cut short gives the frames before the cut.

    Raises:
        SdvlmError: not a ``.sens`` file of version 4, an unknown or unreadable compression, impossible sizes.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            header, declared = _read_header(stream, path)
            size = os.fstat(stream.fileno()).st_size
            return _index(stream, path, header, declared, size)
    except OSError as error:
        raise SdvlmError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_header(stream: BinaryIO, path: Path) -> tuple[SensHeader, int]:
    def take(layout: str) -> tuple:
        size = struct.calcsize(layout)
        data = stream.read(size)
        if len(data) < size:
            raise SdvlmError(f"{path}: cut short in its header; copy or download it again")
        return struct.unpack(layout, data)

    (version,) = take("<I")
    if version != 4:
        raise SdvlmError(f"{path}: not a .sens file of version 4 (its first number is {version})")
    (length,) = take("<Q")
    if length > _MAX_NAME:
        raise SdvlmError(f"{path}: not a .sens file (a sensor's name of {length} bytes)")
    (name,) = take(f"<{length}s")
    color_in, color_ex, depth_in, depth_ex = np.array(take("<64f"), dtype=np.float64).reshape(4, 4, 4)
    color, depth = take("<2i")
    width, height, depth_width, depth_height = take("<4I")
    (shift,) = take("<f")
    (declared,) = take("<Q")
    if color not in tuple(ColorCompression):
        raise SdvlmError(f"{path}: colour compression {color} is unknown; 0 (raw), 1 (PNG) and 2 (JPEG) are read")
    if depth not in (DepthCompression.RAW, DepthCompression.ZLIB):
        what = "'occi'" if depth == DepthCompression.OCCI else str(depth)
        raise SdvlmError(
            f"{path}: depth compression {what} is not read, only 0 (raw) and 1 (zlib); export its frames with "
            "ScanNet's own tool"
        )
    for w, h, what in ((width, height, "colour"), (depth_width, depth_height, "depth")):
        check_size(w, h, f"{path} ({what})")
    if not (math.isfinite(shift) and shift > 0) or declared > _MAX_FRAMES:
        raise SdvlmError(f"{path}: impossible header (depth shift {shift}, {declared} frames)")
    header = SensHeader(
        intrinsic_color=color_in,
        extrinsic_color=color_ex,
        intrinsic_depth=depth_in,
        extrinsic_depth=depth_ex,
        color_size=(width, height),
        depth_size=(depth_width, depth_height),
        color_compression=ColorCompression(color),
        depth_compression=DepthCompression(depth),
        depth_shift=shift,
        sensor=name.decode("utf-8", "replace"),
    )
    return header, declared


def _index(stream: BinaryIO, path: Path, header: SensHeader, declared: int, size: int) -> SensFile:
    poses: list[list[float]] = []
    places: list[tuple[int, int, int]] = []
    cut = None
    at = stream.tell()
    while len(places) < declared:
        stream.seek(at)
        head = stream.read(FRAME_HEAD.size)
        if len(head) < FRAME_HEAD.size:
            cut = f"the file ends after {len(places)} of {declared} frames"
            break
        *pose, _, _, color, depth = FRAME_HEAD.unpack(head)
        start = at + FRAME_HEAD.size
        if start + color + depth > size:
            cut = f"frame {len(places)} of {declared} runs past the end of the file"
            break
        poses.append(pose)
        places.append((start, color, depth))
        at = start + color + depth
    array = np.array(poses, dtype=np.float64).reshape(-1, 4, 4)
    return SensFile(path, header, array, declared, cut, np.array(places, dtype=np.int64).reshape(-1, 3))
