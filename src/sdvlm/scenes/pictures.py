"""Encoded pictures of a scene to pixels: colour and 16-bit depth, checked for size before they are decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.depth.raw import DECODE_ERRORS, check_size, one_line, quiet_pillow
from sdvlm.types import SdvlmError

__all__ = ["decode_color", "decode_depth_png", "picture_size", "read_bytes"]

_MAX_BYTES = 512 * 1024 * 1024
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I")


def read_bytes(path: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        SdvlmError: it is not there, cannot be read, or is larger than any picture.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SdvlmError(f"{path}: {path.stat().st_size} bytes are too many for a picture; is it one?")
        return path.read_bytes()
    except OSError as error:
        raise SdvlmError(f"{path}: cannot be read ({one_line(error)})") from error


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) from the file's header.

    Raises:
        SdvlmError: not a picture.
    """
    try:
        with quiet_pillow(), Image.open(path) as opened:
            return opened.size
    except DECODE_ERRORS as error:
        raise SdvlmError(f"{path}: cannot be read as a picture ({one_line(error)})") from error


def _decoded(data: bytes, name: str, size: tuple[int, int] | None, mode: str | None) -> NDArray[np.generic]:
    try:
        with quiet_pillow(), Image.open(io.BytesIO(data)) as opened:
            if size is not None and opened.size != size:
                (w, h), (want_w, want_h) = opened.size, size
                raise SdvlmError(f"{name}: the picture is {w}x{h} but its camera is for {want_w}x{want_h}")
            check_size(*opened.size, name)
            if mode is None and opened.mode not in _SIXTEEN_BIT:
                raise SdvlmError(f"{name}: expected a 16-bit depth picture in millimetres; got mode {opened.mode}")
            return np.asarray(opened if mode is None else opened.convert(mode))
    except SdvlmError:
        raise
    except DECODE_ERRORS as error:
        raise SdvlmError(f"{name}: cannot be read as a picture ({one_line(error)}); it may be cut short") from error


def decode_color(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB as stored (no EXIF turning: the camera is that of the stored pixels).

    Args:
        data: JPEG, PNG or whatever Pillow reads.
        name: for messages.
        size: (width, height) it must have, if known.

    Raises:
        SdvlmError: damaged, cut short, too large or of another size.
    """
    return _decoded(data, name, size, "RGB").astype(np.uint8, copy=False)


def decode_depth_png(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """(H, W) float32 metres of a 16-bit picture in millimetres; NaN where it holds 0.

    Raises:
        SdvlmError: damaged, cut short, too large, of another size or not of 16 bits.
    """
    stored = _decoded(data, name, size, None)
    with np.errstate(invalid="ignore"):
        return np.where(stored > 0, stored / 1000.0, np.nan).astype(np.float32)  # type: ignore[operator]
