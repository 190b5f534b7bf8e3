"""The picture of an MSMU row: out of ``image_base64`` or an ``image`` feature, into an RGB array.

Published pictures come in any mode. The released code hands them on as they are, and grey or transparent ones break its
channel order; here all become RGB.
"""

from __future__ import annotations

import ast
import base64
import binascii
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sdvlm.depth.raw import DECODE_ERRORS, MAX_PIXELS, one_line, quiet_pillow
from sdvlm.types import SdvlmError

__all__ = ["MAX_BYTES", "decode_picture", "opened_picture", "picture_bytes"]

MAX_BYTES = 128 << 20
"""bytes of one encoded picture that are still read"""
_BYTES_PER_PIXEL = {"L": 1, "P": 1, "LA": 2, "RGB": 3, "YCbCr": 3, "RGBA": 4, "CMYK": 4}
"""modes whose bare pixels ``image_base64`` may hold, beside ``image_size`` and ``image_mode``"""


def picture_bytes(row: Mapping[str, Any], folder: Path) -> bytes:
    """The encoded picture of a row.

    Args:
        row: its columns: ``image_base64`` (text; of an encoded picture, or of bare pixels when ``image_size`` (width,
            height) and ``image_mode`` say how to read them) or ``image`` (bytes, base64 text, a path beside the data,
            or a struct of ``bytes`` and ``path``).
        folder: where paths start; a path may not lead out of it.

    Raises:
        SdvlmError: there is no picture, it is no base64, or it is too large.
    """
    cell = row.get("image_base64")
    if cell is None:
        cell = row.get("image")
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") if cell.get("bytes") is not None else cell.get("path")
    if isinstance(cell, list) and len(cell) == 1:
        return picture_bytes({**row, "image_base64": None, "image": cell[0]}, folder)
    if isinstance(cell, str):
        beside = _file_beside(cell, folder) if row.get("image_base64") is None else None
        cell = beside.read_bytes() if beside is not None else _from_base64(cell)
    if not isinstance(cell, bytes):
        raise SdvlmError(f"wanted one picture in image_base64 or image; got {type(cell).__name__}")
    if not cell:
        raise SdvlmError("the picture is empty (0 bytes)")
    if len(cell) > MAX_BYTES:
        raise SdvlmError(f"the picture has {len(cell)} bytes; at most {MAX_BYTES} are read")
    return _from_pixels(cell, row.get("image_size"), row.get("image_mode")) or cell


def decode_picture(encoded: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Transparency is dropped, grey and palette become colour, 16-bit grey keeps its upper eight bits.

    Raises:
        SdvlmError: no picture, a damaged one, or one of more pixels than :data:`~sdvlm.depth.raw.MAX_PIXELS`.
    """
    wanted = "the picture is in no format that can be read; wanted JPEG, PNG, WebP or TIFF"
    with opened_picture(encoded, "the picture", wanted) as picture:
        picture.load()
        upright: Any = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I"):
            grey = np.clip(np.asarray(upright).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.array(upright.convert("RGB"), dtype=np.uint8)


@contextmanager
def opened_picture(
    encoded: bytes, what: str, wanted: str, formats: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """An encoded picture, opened but not decoded; what goes wrong in the block is said in one line.

    Args:
        encoded: its bytes.
        what: what messages call it ("the picture", "the depth").
        wanted: message for bytes of no such format.
        formats: Pillow's names of the formats to try; None: all.

    Raises:
        SdvlmError: of no such format, damaged, or of more pixels than :data:`~sdvlm.depth.raw.MAX_PIXELS`.
    """
    try:
        with quiet_pillow(), Image.open(io.BytesIO(encoded), formats=formats) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise SdvlmError(f"{what} is {width}x{height}; at most {MAX_PIXELS} pixels are decoded")
            yield picture
    except SdvlmError:
        raise
    except UnidentifiedImageError:
        raise SdvlmError(wanted) from None
    except (Image.DecompressionBombError, MemoryError) as error:
        raise SdvlmError(f"{what} is too large to decode: {one_line(error)}") from error
    except DECODE_ERRORS as error:
        raise SdvlmError(f"{what} is damaged or cut short: {one_line(error)}") from error


def _from_base64(text: str) -> bytes:
    """Standard base64, with or without a ``data:`` prefix and line breaks."""
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise SdvlmError(f"the picture has {len(text)} characters of base64; at most {MAX_BYTES} bytes are read")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SdvlmError(f"the picture is no valid base64: {one_line(error)}") from error


def _from_pixels(data: bytes, size: object, mode: object) -> bytes | None:
    """Bare pixels as a PNG; None where the data is not exactly the pixels of that size and mode."""
    if isinstance(size, str):
        try:
            size = ast.literal_eval(size.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        return None
    width, height = size
    if not isinstance(mode, str) or width <= 0 or height <= 0:
        return None
    if len(data) != width * height * _BYTES_PER_PIXEL.get(mode, 0) or width * height > MAX_PIXELS:
        return None
    stream = io.BytesIO()
    Image.frombytes(mode, (width, height), data).convert("RGB").save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _file_beside(name: str, folder: Path) -> Path | None:
    """The file a short relative path names, if it is there and inside the folder."""
    if len(name) > 1024 or "\0" in name:
        return None
    path = folder / name
    try:
        inside = path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except OSError:
        return None
    return path if inside else None
