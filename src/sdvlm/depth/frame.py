"""A picture from disk, with its depth map and camera beside it, checked to belong together."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sdvlm.depth.camera_file import check_camera, read_camera
from sdvlm.depth.io import read_depth
from sdvlm.depth.raw import DECODE_ERRORS, check_size, one_line, quiet_pillow
from sdvlm.geometry.transform import resize
from sdvlm.types import Camera, DepthKind, DepthMap, RgbdFrame, SdvlmError

__all__ = ["load_image", "load_rgbd"]

_ASPECT_TOLERANCE = 0.02
_log = logging.getLogger(__name__)


def load_image(path: str | Path, upright: bool = True) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB, turned upright by its EXIF orientation. Transparency is dropped; grey becomes colour.

    Args:
        path: any picture Pillow reads.
        upright: False leaves the pixels as they are stored, whatever the orientation, as the released SD-VLM code does.

    Raises:
        SdvlmError: missing, empty, damaged, too large, or a 16-bit or float picture (those hold depth, not colour).
    """
    return _load_oriented(Path(path), upright)[0]


def load_rgbd(
    image_path: str | Path,
    depth_path: str | Path | None = None,
    camera: Camera | str | Path | None = None,
    *,
    kind: DepthKind | str | None = None,
    scale_to_m: float | None = None,
    codec: str | None = None,
    resize_depth: bool = False,
) -> RgbdFrame:
    """A picture with, where given, its depth map and camera.

    Args:
        image_path: any picture Pillow reads.
        depth_path: see :func:`~sdvlm.depth.io.read_depth`; ``kind``, ``scale_to_m`` and ``codec`` go there.
        camera: a :class:`~sdvlm.types.Camera` for the upright picture, or what
            :func:`~sdvlm.depth.camera_file.read_camera` parses.
        resize_depth: accept a depth map of another size and resample it to the picture, nearest neighbour (never
            bilinear: that invents depths between foreground and background).

    Raises:
        SdvlmError: a file is unusable, or depth or camera do not fit the picture.
    """
    image_path = Path(image_path)
    image, turned = _load_oriented(image_path)
    size = (image.shape[1], image.shape[0])
    depth = None
    if depth_path is not None:
        depth = read_depth(depth_path, kind=kind, scale_to_m=scale_to_m, codec=codec, size=size)
        if depth.size != size:
            depth = _fit_depth(depth, size, Path(depth_path), resize_depth=resize_depth, turned=turned)
    if isinstance(camera, str | Path):
        camera = read_camera(camera, size)
    elif camera is not None:
        check_camera(camera, size)
    return RgbdFrame(image, depth, camera, name=image_path.name)


def _fit_depth(depth: DepthMap, size: tuple[int, int], path: Path, *, resize_depth: bool, turned: bool) -> DepthMap:
    (w, h), (width, height) = depth.size, size
    if not resize_depth:
        sideways = turned and (w > h) != (width > height)
        hint = "; the picture was turned by its EXIF orientation, the depth was not" if sideways else ""
        raise SdvlmError(
            f"{path}: depth is {w}x{h} but the image is {width}x{height}{hint}; "
            "pass resize_depth=True (--resize-depth) if both show the same view"
        )
    if abs(w * height / (h * width) - 1) > _ASPECT_TOLERANCE:
        _log.warning(
            "%s: depth %dx%d and image %dx%d differ in aspect ratio; was one of them cropped?", path, w, h, *size
        )
    resized = resize(depth.size, size).depth(depth)
    if not resized.valid.any():
        raise SdvlmError(f"{path}: has 0 valid pixels after resizing {w}x{h} to {width}x{height}")
    return resized


def _load_oriented(path: Path, upright: bool = True) -> tuple[NDArray[np.uint8], bool]:
    """The picture, and whether turning it upright by its EXIF orientation swapped width and height."""
    if path.is_dir():
        raise SdvlmError(f"{path}: is a folder; give one picture")
    try:
        with quiet_pillow(), Image.open(path) as picture:
            check_size(*picture.size, path)
            if picture.mode.startswith(("I", "F")):
                raise SdvlmError(
                    f"{path}: is {_bits(picture.mode)} greyscale, which looks like depth; give the colour picture"
                )
            picture.load()
            seen: Any = ImageOps.exif_transpose(picture) if upright else picture
            return np.array(seen.convert("RGB"), dtype=np.uint8), seen.size != picture.size
    except SdvlmError:
        raise
    except FileNotFoundError:
        raise SdvlmError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        seen = "no picture that can be read" if path.stat().st_size else "empty (0 bytes)"
        raise SdvlmError(f"{path}: is {seen}; wanted JPEG, PNG, WebP or TIFF") from None
    except (Image.DecompressionBombError, MemoryError) as error:
        raise SdvlmError(f"{path}: is too large to decode: {one_line(error)}") from error
    except DECODE_ERRORS as error:
        raise SdvlmError(f"{path}: is damaged or cut short: {one_line(error)}; copy or export it again") from error


def _bits(mode: str) -> str:
    return "16-bit" if mode.startswith("I;16") else "float" if mode == "F" else "32-bit"
