"""Encoded pictures of any origin to upright sRGB arrays, decoded once; or one line that says why not.

What becomes of odd pictures: EXIF (and XMP) orientation is honoured; grey and palette become colour; transparency is
dropped and CMYK converted without its colour profile, as `sdvlm.depth.frame.load_image` does; colour of 16 bits keeps
the upper eight; grey of 16 bits or floats is refused, as it is depth, not a picture; of animations and files of several
pages nothing or, by choice, the first picture is taken; sizes are checked before pixels are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from sdvlm.data.msmu_picture import opened_picture
from sdvlm.depth.raw import DECODE_ERRORS, MAX_PIXELS
from sdvlm.types import SdvlmError

__all__ = ["DecodeConfig", "Decoded", "decode"]

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the stored pixels upright"""


@dataclass(frozen=True)
class DecodeConfig:
    """Which pictures are taken.

    Raises:
        SdvlmError: a limit is out of range, or there is no such choice for animations.
    """

    min_side: int = 16
    """pixels of the shorter side; smaller pictures are refused: icons, tracking pixels, less than a patch of a ViT"""
    max_side: int = 16_384
    """pixels of the longer side; longer pictures are refused before they are decoded"""
    max_pixels: int = MAX_PIXELS
    """width times height; larger pictures are refused before they are decoded"""
    animated: Literal["refuse", "first"] = "refuse"
    """animations and files of several pages: refused, or the first picture taken"""

    def __post_init__(self) -> None:
        if not 1 <= self.min_side <= self.max_side:
            raise SdvlmError(f"sides need 1 <= min_side <= max_side; got {self.min_side} and {self.max_side}")
        if not 1 <= self.max_pixels <= MAX_PIXELS:
            raise SdvlmError(f"max_pixels must lie in 1..{MAX_PIXELS}; got {self.max_pixels}")
        if self.animated not in get_args(Literal["refuse", "first"]):
            raise SdvlmError(f"animated must be refuse or first; got '{self.animated}'")


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture.

    Args:
        image: (H, W, 3) sRGB, upright.
        encoded: the bytes it was decoded from, where every viewer shows exactly ``image`` from them; else None.
        turned: whether the stored pixels were turned or mirrored to make it upright.
    """

    image: NDArray[np.uint8]
    encoded: bytes | None
    turned: bool


def decode(data: bytes, name: str, config: DecodeConfig | None = None) -> Decoded:
    """Decode a picture once.

    Args:
        data: of the file.
        name: what messages call it.
        config: which pictures are taken.

    Raises:
        SdvlmError: no picture, damaged, or none that the config takes; one line that starts with the name.
    """
    config = config or DecodeConfig()
    if not data:
        raise SdvlmError(f"{name}: is empty (0 bytes)")
    unread = f"{name}: is no picture that can be read; wanted JPEG, PNG, WebP, TIFF, BMP or GIF"
    with opened_picture(data, f"{name}:", unread) as picture:
        _check_size(*picture.size, name, config)
        pages = _pages(picture)
        if pages > 1 and config.animated == "refuse":
            raise SdvlmError(
                f"{name}: holds {pages} pictures (animated or several pages); pass animated='first' (--animated)"
            )
        if picture.mode.startswith(("I", "F")):
            raise SdvlmError(f"{name}: is grey of more than 8 bits ({picture.mode}): depth, not a picture")
        turned_by_load = picture.format == "TIFF" and _orientation(picture) in _TURNS  # Pillow turns those itself
        picture.load()
        exact = pages == 1 and _shown_alike(picture, data)
        orientation = _orientation(picture)
        upright: Any = picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture
        image = np.array(upright.convert("RGB"), dtype=np.uint8)
    turned = turned_by_load or orientation in _TURNS
    return Decoded(image, data if exact and not turned else None, turned)


def _check_size(width: int, height: int, name: str, config: DecodeConfig) -> None:
    if min(width, height) < config.min_side:
        raise SdvlmError(
            f"{name}: is {width}x{height} pixels; at least {config.min_side} a side are wanted (DecodeConfig.min_side)"
        )
    if max(width, height) > config.max_side:
        raise SdvlmError(
            f"{name}: is {width}x{height} pixels; at most {config.max_side} a side are taken (DecodeConfig.max_side)"
        )
    if width * height > config.max_pixels:
        raise SdvlmError(
            f"{name}: is {width}x{height}; at most {config.max_pixels} pixels are taken (DecodeConfig.max_pixels)"
        )


def _pages(picture: Image.Image) -> int:
    """Pictures in the file. A phone's JPEG that carries a second view or a gain map behind it (MPO) is one picture."""
    return 1 if picture.format in ("JPEG", "MPO") else int(getattr(picture, "n_frames", 1))


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none, or no readable one: that is no reason to refuse the picture."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (*DECODE_ERRORS, TypeError):
        return 1


def _shown_alike(picture: Image.Image, data: bytes) -> bool:
    """Whether every viewer makes the same 8-bit RGB pixels of the file, but for its orientation."""
    if picture.format == "PNG" and data[24:25] != b"\x08":  # bits a channel, in the header
        return False
    return picture.format in ("JPEG", "PNG", "WEBP") and picture.mode == "RGB" and "transparency" not in picture.info
