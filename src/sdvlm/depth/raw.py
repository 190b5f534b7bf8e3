"""Depth files to the numbers they store, with what the file says of itself. No interpretation here: see ``io.py``.

The format is told by the first bytes, not by the file name. Nothing is unpickled; sizes are checked before pixels
are decoded.
"""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.types import DepthKind, SdvlmError

__all__ = ["MAX_PIXELS", "META_KEY", "RawDepth", "check_size", "one_line", "quiet_pillow", "read_raw", "sniff_format"]

MAX_PIXELS = 80_000_000
"""Larger pictures and maps are refused before they are decoded: a small file can claim any size."""

META_KEY = "sdvlm_depth"
"""our PNG text chunk, TIFF description and npz member: a JSON object with kind, source and (PNG) scale_to_m"""

DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    KeyError,
    RuntimeError,
    zlib.error,
    struct.error,
    zipfile.BadZipFile,
)
"""What Pillow, NumPy and zipfile raise on damaged files."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"v/1\x01", "exr"),
    (b"\x89HDF", "hdf5"),
)
_READABLE = "16-bit PNG, float or 16-bit TIFF, npy, npz, or JSON of sparse points"
_KIND_OF_KEY = {"disparity": DepthKind.DISPARITY, "disp": DepthKind.DISPARITY, "inverse_depth": DepthKind.DISPARITY}


@dataclass(frozen=True, eq=False)
class RawDepth:
    """Stored numbers and the file's own words.

    Args:
        values: (H, W) numbers as stored, or (H, W, 3) uint8.
        format: png, tiff, npy or npz.
        kind: what the file says it holds, None if it says nothing.
        scale_to_m: metres per stored unit as the file says, None if it says nothing.
        source: who made the map, as the file says.
    """

    values: NDArray[Any]
    format: str
    kind: DepthKind | None = None
    scale_to_m: float | None = None
    source: str | None = None


def one_line(error: BaseException) -> str:
    """An exception's message on one line, cut at 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow warns on stderr before it raises; the one line of ours says it all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def check_size(width: int, height: int, name: Path | str) -> None:
    """Refuse empty and absurdly large pictures."""
    if width <= 0 or height <= 0:
        raise SdvlmError(f"{name}: is {width}x{height} pixels, so it is empty")
    if width * height > MAX_PIXELS:
        raise SdvlmError(f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; resize it first")


def sniff_format(path: Path) -> str:
    """png, tiff, npy, npz, jpeg, exr, hdf5, points or unknown, from the first bytes.

    Raises:
        SdvlmError: no such file, not a file, empty or unreadable.
    """
    if path.is_dir():
        raise SdvlmError(f"{path}: is a folder; give one depth file")
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except FileNotFoundError:
        raise SdvlmError(f"{path}: no such file") from None
    except OSError as error:
        raise SdvlmError(f"{path}: cannot be read: {one_line(error)}") from error
    if not head:
        raise SdvlmError(f"{path}: is empty (0 bytes)")
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    return "points" if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{") else "unknown"


def read_raw(path: Path) -> RawDepth:
    """The numbers a dense depth file stores.

    Raises:
        SdvlmError: missing, damaged, too large, or of a format that holds no depth.
    """
    found = sniff_format(path)
    if found not in ("png", "tiff", "npy", "npz"):
        why = {
            "jpeg": "is a JPEG, which rounds depth away",
            "points": "is JSON; sparse points need the size of their image",
        }.get(
            found, f"is {found.upper()}, which is not read here" if found != "unknown" else "is no known depth format"
        )
        raise SdvlmError(f"{path}: {why}; wanted {_READABLE}")
    try:
        if found == "npy":
            with path.open("rb") as stream:
                return RawDepth(_plane(_read_array(stream, path), path), "npy")
        if found == "npz":
            return _read_npz(path)
        return _read_picture(path, found)
    except SdvlmError:
        raise
    except (Image.DecompressionBombError, MemoryError, RecursionError) as error:
        raise SdvlmError(f"{path}: is too large to decode: {one_line(error)}") from error
    except DECODE_ERRORS as error:
        raise SdvlmError(f"{path}: is damaged or cut short: {one_line(error)}; copy or export it again") from error


def _read_picture(path: Path, found: str) -> RawDepth:
    bit_depth = _check_png_header(path) if found == "png" else None
    with quiet_pillow(), Image.open(path, formats=["PNG", "TIFF"]) as picture:
        check_size(*picture.size, path)
        if (pages := getattr(picture, "n_frames", 1)) > 1:
            raise SdvlmError(f"{path}: holds {pages} pages; wanted one depth map a file")
        picture.load()
        mode = picture.mode
        values = np.asarray(picture)
        words = _own_words(picture.info.get(META_KEY) or _tiff_description(picture), path)
    if mode == "P":
        raise SdvlmError(f"{path}: is a palette picture, not depth; export the depth as 16-bit PNG")
    if bit_depth == 16 or mode.startswith("I;16"):
        values = values.astype(np.uint16)
    if values.ndim == 3 and (values.shape[2] != 3 or values.dtype != np.uint8):
        raise SdvlmError(f"{path}: has {values.shape[2]} channels; a depth map has one")
    if values.dtype == np.bool_:
        raise SdvlmError(f"{path}: holds one bit a pixel: a mask, not depth")
    return RawDepth(values, found, *words)


def _check_png_header(path: Path) -> int:
    """Bits a channel. Colour PNGs of 16 bits are refused: Pillow would cut them to 8 without a word."""
    with path.open("rb") as stream:
        header = stream.read(26)
    if len(header) < 26 or header[12:16] != b"IHDR":
        raise SdvlmError(f"{path}: is damaged or cut short: no PNG header; copy or export it again")
    width, height, bits, colour = struct.unpack(">IIBB", header[16:26])
    check_size(width, height, path)
    if bits == 16 and colour != 0:
        raise SdvlmError(f"{path}: is a 16-bit PNG with several channels; depth needs one (16-bit greyscale)")
    return int(bits)


def _tiff_description(picture: Image.Image) -> str | None:
    tags = getattr(picture, "tag_v2", None)
    return tags.get(270) if tags is not None else None


def _own_words(text: object, path: Path) -> tuple[DepthKind | None, float | None, str | None]:
    """Kind, scale and source from our JSON note; nothing if the text is somebody else's."""
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return None, None, None
    try:
        note = json.loads(text)
        note = note.get(META_KEY, note)
        kind, scale = note.get("kind"), note.get("scale_to_m")
        return DepthKind(kind) if kind else None, float(scale) if scale else None, note.get("source")
    except (ValueError, AttributeError, TypeError) as error:
        raise SdvlmError(f"{path}: its note about depth cannot be read: {one_line(error)}") from error


def _read_npz(path: Path) -> RawDepth:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        arrays = [name for name in names if not name.startswith(META_KEY)]
        key = "depth" if "depth" in arrays else arrays[0] if len(arrays) == 1 else None
        if key is None:
            raise SdvlmError(f"{path}: holds {', '.join(sorted(arrays)[:8]) or 'nothing'}; wanted an array named depth")
        with archive.open(f"{key}.npy") as stream:
            values = _plane(_read_array(stream, path), path)
        note = None
        if META_KEY in names:
            with archive.open(f"{META_KEY}.npy") as stream:
                note = str(_read_array(stream, path))
    kind, scale, source = _own_words(note, path)
    return RawDepth(values, "npz", kind or _KIND_OF_KEY.get(key.lower()), scale, source)


def _read_array(stream: IO[bytes], path: Path) -> NDArray[Any]:
    """One ``.npy`` stream, its size checked before its data is read; objects are refused, not unpickled."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise SdvlmError(f"{path}: NumPy file version {version} is not read here; save it with numpy.save")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise SdvlmError(f"{path}: holds pickled Python objects, which are never loaded; save a plain float array")
    count = int(np.prod([int(n) for n in shape], dtype=object)) if shape else 1
    if count > MAX_PIXELS:
        raise SdvlmError(f"{path}: shape {shape} is more than {MAX_PIXELS:,} values; resize it first")
    data = stream.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise EOFError(f"{len(data)} of {count * dtype.itemsize} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _plane(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """(H, W) numbers; axes of length one around them are dropped."""
    plane = values.squeeze() if values.ndim > 2 else values
    if plane.ndim != 2 or not plane.size or not np.issubdtype(plane.dtype, np.number):
        raise SdvlmError(
            f"{path}: holds {values.dtype} of shape {values.shape}; wanted numbers of shape (height, width)"
        )
    if np.issubdtype(plane.dtype, np.complexfloating):
        raise SdvlmError(f"{path}: holds complex numbers; wanted real depth values")
    return plane.astype(plane.dtype.newbyteorder("="), copy=False)
