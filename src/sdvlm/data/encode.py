"""A picture and its depth as the bytes that a built row holds.

Rows hold upright RGB pictures as JPEG or PNG, because the published trainer hands what it decodes straight on: grey,
palette and transparent pictures break its channel order, and it does not apply EXIF orientation. Depth is a 16-bit PNG
in millimetres, 0 where unknown.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.data.msmu_picture import decode_picture, opened_picture
from sdvlm.types import DepthKind, DepthMap, SdvlmError

__all__ = ["PictureHeader", "decode_depth", "encode_depth", "encode_picture", "picture_header", "plain_picture"]

_ORIENTATION = 0x0112
_FARTHEST_MM = 65534
"""65535 is taken for "no return" by many readers"""


@dataclass(frozen=True)
class PictureHeader:
    """What the first bytes of an encoded picture say.

    Args:
        format: "JPEG" or "PNG".
        size: width, height in pixels, before any EXIF orientation.
        mode: Pillow's name of the channels ("RGB").
        upright: whether it needs no turning.
    """

    format: str
    size: tuple[int, int]
    mode: str
    upright: bool

    @property
    def plain(self) -> bool:
        """Whether every reader sees the same picture: RGB and upright."""
        return self.mode == "RGB" and self.upright


def picture_header(encoded: bytes) -> PictureHeader:
    """Format, size and mode of a JPEG or PNG, without decoding its pixels.

    Raises:
        SdvlmError: it is neither, or is damaged in its first bytes, or has too many pixels.
    """
    wanted = "the picture is neither JPEG nor PNG; encode it as one of them"
    with opened_picture(encoded, "the picture", wanted, ("JPEG", "PNG")) as picture:
        may_turn = picture.format == "JPEG" or b"eXIf" in encoded  # else Pillow would decode a PNG to look for it
        upright = not may_turn or int(picture.getexif().get(_ORIENTATION, 1)) in (0, 1)
        return PictureHeader(str(picture.format), picture.size, picture.mode, upright)


def plain_picture(encoded: bytes) -> bytes:
    """The picture as a row may hold it: the same bytes if it is an upright RGB JPEG or PNG, else a PNG of it.

    Raises:
        SdvlmError: it cannot be decoded.
    """
    try:
        if picture_header(encoded).plain:
            return encoded
    except SdvlmError:
        pass  # another format, which decode_picture may know
    return encode_picture(decode_picture(encoded))


def encode_picture(image: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB as a PNG, lossless and the same bytes each time."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def encode_depth(depth: DepthMap) -> bytes:
    """A metric map as 16-bit PNG in millimetres; unknown, and beyond 65.534 m, is 0; what is known is at least 1.

    Raises:
        SdvlmError: the map is not metric.
    """
    if depth.kind is not DepthKind.METRIC:
        raise SdvlmError(f"rows hold metric depth; got {depth.kind}, which has no millimetres; scale it first")
    millimetres = np.rint(np.nan_to_num(depth.values.astype(np.float64)) * 1000)
    known = depth.valid & (millimetres <= _FARTHEST_MM)
    stored = np.where(known, np.maximum(millimetres, 1), 0).astype(np.uint16)
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "PNG", compress_level=2)
    return stream.getvalue()


def decode_depth(png: bytes, source: str = "unknown") -> DepthMap:
    """The metric map of a 16-bit PNG in millimetres.

    Args:
        png: as :func:`encode_depth` writes it.
        source: who made the map.

    Raises:
        SdvlmError: no 16-bit grey PNG, damaged, or too large.
    """
    with opened_picture(
        png, "the depth", "the depth is no PNG; wanted a 16-bit PNG in millimetres", ("PNG",)
    ) as picture:
        if not picture.mode.startswith("I"):
            raise SdvlmError(f"the depth is a PNG of mode {picture.mode}; wanted 16-bit grey in millimetres")
        metres = np.asarray(picture).astype(np.float32) / np.float32(1000)
    return DepthMap(metres, DepthKind.METRIC, source)
