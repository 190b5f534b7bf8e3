"""Write ScanNet's ``.sens`` stream (layout: `sens`)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.depth.atomic import atomic_file
from sdvlm.scenes.sens import FRAME_HEAD, ColorCompression, DepthCompression, SensHeader
from sdvlm.types import SdvlmError

__all__ = ["SensWriter", "write_sens"]


class SensWriter:
    """Appends frames to an open stream; made by `write_sens`."""

    def __init__(self, stream: BinaryIO, header: SensHeader) -> None:
        self.header, self.count = header, 0
        self._stream = stream
        name = header.sensor.encode()
        stream.write(struct.pack("<IQ", 4, len(name)) + name)
        matrices = (header.intrinsic_color, header.extrinsic_color, header.intrinsic_depth, header.extrinsic_depth)
        stream.write(b"".join(np.asarray(one, dtype="<f4").tobytes() for one in matrices))
        stream.write(struct.pack("<2i", header.color_compression, header.depth_compression))
        stream.write(struct.pack("<4If", *header.color_size, *header.depth_size, header.depth_shift))
        self._count_at = stream.tell()
        stream.write(struct.pack("<Q", 0))

    def add(
        self,
        image: NDArray[np.uint8],
        depth_m: NDArray[np.floating],
        T_world_cam: NDArray[np.floating],
        time_us: int = 0,
    ) -> None:
        """Append a frame: (H, W, 3) RGB, (Hd, Wd) metres (NaN or beyond 16 bits becomes 0), (4, 4) pose.

        Raises:
            SdvlmError: a picture is not of the header's size.
        """
        for array, (width, height), what in (
            (image, self.header.color_size, "colour"),
            (depth_m, self.header.depth_size, "depth"),
        ):
            if array.shape[:2] != (height, width):
                got = "x".join(str(side) for side in array.shape[1::-1])
                raise SdvlmError(f"{what} is {got} pixels but the stream is for {width}x{height}")
        color, depth = self._encoded(image), self._depth_bytes(depth_m)
        pose = np.asarray(T_world_cam, dtype="<f4").reshape(16)
        self._stream.write(FRAME_HEAD.pack(*pose.tolist(), time_us, time_us, len(color), len(depth)) + color + depth)
        self.count += 1

    def _encoded(self, image: NDArray[np.uint8]) -> bytes:
        if self.header.color_compression is ColorCompression.RAW:
            return np.ascontiguousarray(image).tobytes()
        held = io.BytesIO()
        if self.header.color_compression is ColorCompression.PNG:
            Image.fromarray(image).save(held, "PNG")
        else:
            Image.fromarray(image).save(held, "JPEG", quality=95, subsampling=0)
        return held.getvalue()

    def _depth_bytes(self, depth_m: NDArray[np.floating]) -> bytes:
        units = np.nan_to_num(
            np.asarray(depth_m, dtype=np.float64) * self.header.depth_shift, posinf=0, neginf=0
        ).round()
        stored = np.where((units > 0) & (units <= 65535), units, 0).astype("<u2").tobytes()
        return zlib.compress(stored) if self.header.depth_compression is DepthCompression.ZLIB else stored

    def finish(self) -> None:
        """Write the number of frames into the header, and that no inertial measurements follow."""
        self._stream.write(struct.pack("<Q", 0))
        self._stream.seek(self._count_at)
        self._stream.write(struct.pack("<Q", self.count))


@contextmanager
def write_sens(path: Path, header: SensHeader) -> Iterator[SensWriter]:
    """A writer whose file appears under its name when the block ends without error.

    Raises:
        SdvlmError: a depth compression that we do not write.
    """
    if header.depth_compression is DepthCompression.OCCI:
        raise SdvlmError("depth is written raw or as zlib; 'occi' is not written")
    with atomic_file(path) as stream:
        writer = SensWriter(stream, header)
        yield writer
        writer.finish()
