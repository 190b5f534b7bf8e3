"""Pictures and depth of rows: found, read and checked once; nothing outside the folders given is ever read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from sdvlm.data.encode import decode_depth
from sdvlm.data.msmu_picture import MAX_BYTES, decode_picture, picture_bytes
from sdvlm.depth.io import read_depth
from sdvlm.train.source_row import RawDepth, RawImage, digest
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["DEPTH_SUFFIXES", "PictureReader", "camera_of", "decode_raw_depth"]

DEPTH_SUFFIXES = (".png", ".npz", ".tif", ".tiff", ".npy")
_REMEMBERED = 16
"""rows of one picture stand together, so each is decoded once to check it"""
_Found = TypeVar("_Found", RawImage, RawDepth)


class PictureReader:
    """Turns the cells of rows into checked pictures and depth.

    Args:
        folder: where paths start; none leads out of it.
        depth_folder: holds depth files named as the pictures, with a suffix of their own; None: there is none.
    """

    def __init__(self, folder: Path, depth_folder: Path | None = None) -> None:
        self.folder, self.depth_folder = folder, depth_folder
        self._images: OrderedDict[Any, RawImage] = OrderedDict()
        self._depth: OrderedDict[Any, RawDepth] = OrderedDict()

    def image(self, cell: object) -> tuple[RawImage, str]:
        """The picture of a cell, and the name that a depth file of it would have.

        Args:
            cell: a path below the folder, bytes, ``data:`` text, or a mapping of ``bytes`` and ``path``.

        Raises:
            SdvlmError: there is no picture, it is no picture, or it lies outside the folder.
        """
        name = ""
        if isinstance(cell, Mapping):
            path = cell.get("path")
            name = path if isinstance(path, str) else ""
            cell = cell["bytes"] if cell.get("bytes") is not None else path
        if isinstance(cell, str) and not cell.startswith("data:"):
            file = inside(self.folder, cell, "picture")
            found = self._remember(self._images, (str(file), _stamp(file)), lambda: _image_in(file))
            return found, PurePosixPath(cell).name if PurePosixPath(cell).is_absolute() else cell
        data = cell if isinstance(cell, bytes) else picture_bytes({"image_base64": cell}, self.folder)
        if len(data) > MAX_BYTES:
            raise SdvlmError(f"the picture has {len(data)} bytes; at most {MAX_BYTES} are read")
        key = digest(data)
        return self._remember(self._images, key, lambda: _image_of(data, key)), name or key

    def depth_cell(self, cell: object, image: RawImage) -> RawDepth | None:
        """The depth of a cell: None, a path, bytes of a 16-bit PNG in millimetres, or a mapping.

        A mapping holds ``path`` or ``bytes``, and ``kind`` and ``scale_to_m`` where the file does not say them.

        Raises:
            SdvlmError: it cannot be read, lies outside the folder, or is not of the size of its picture.
        """
        kind = scale = None
        if isinstance(cell, Mapping):
            kind, scale = cell.get("kind"), cell.get("scale_to_m")
            cell = cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
        if cell is None:
            return None
        if isinstance(cell, bytes):
            if kind not in (None, "metric") or scale not in (None, 0.001):
                raise SdvlmError(f"depth as bytes is a 16-bit PNG in millimetres; got kind {kind}, scale {scale}")
            return self.depth_bytes(cell, image)
        if not isinstance(cell, str):
            raise SdvlmError(f"depth is a path, bytes, or a mapping of them; got {type(cell).__name__}")
        return self._depth_file(inside(self.folder, cell, "depth"), image, kind, scale)

    def depth_bytes(self, png: bytes, image: RawImage, source: str = "unknown") -> RawDepth:
        """The depth of a 16-bit PNG in millimetres, checked against its picture."""
        key = digest(png)

        def check() -> RawDepth:
            depth = decode_depth(png, source)
            _same_size(depth, image)
            return RawDepth(key, depth.kind, data=png, source=source)

        return self._remember(self._depth, (key, image.size, source), check)

    def depth_named(self, name: str, image: RawImage) -> RawDepth | None:
        """The depth file of a picture's name in the depth folder: the same path, or the last part of it alone."""
        if self.depth_folder is None:
            return None
        own = PurePosixPath(name)
        for stem in dict.fromkeys((own.with_suffix(""), PurePosixPath(own.stem), PurePosixPath(image.digest))):
            for suffix in DEPTH_SUFFIXES:
                file = self.depth_folder / f"{stem}{suffix}"
                if file.is_file():
                    return self._depth_file(inside(self.depth_folder, f"{stem}{suffix}", "depth"), image)
        return None

    def _depth_file(self, file: Path, image: RawImage, kind: Any = None, scale: Any = None) -> RawDepth:
        def check() -> RawDepth:
            depth = read_depth(file, kind=kind, scale_to_m=scale)
            _same_size(depth, image)
            return RawDepth(digest(file.read_bytes()), depth.kind, None, str(file), scale, depth.source)

        return self._remember(self._depth, (str(file), _stamp(file), image.size, kind, scale), check)

    @staticmethod
    def _remember(known: OrderedDict[Any, _Found], key: Any, make: Callable[[], _Found]) -> _Found:
        if key not in known:
            known[key] = make()
            if len(known) > _REMEMBERED:
                known.popitem(last=False)
        known.move_to_end(key)
        return known[key]


def inside(folder: Path, name: str, what: str) -> Path:
    """The file that a path names below a folder.

    Raises:
        SdvlmError: it is not there, or not below the folder.
    """
    if "://" in name:
        raise SdvlmError(f"the {what} {name[:80]} is an address; wanted a file below {folder}: fetch it first")
    path = folder / name
    try:
        below, there = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError):
        below, there = True, False
    if not below:
        raise SdvlmError(f"the {what} {name} lies outside {folder}; give the folder that holds it (images=)")
    if not there:
        raise SdvlmError(f"there is no {what} {name[:200]} in {folder}; is it the right folder (images=)?")
    return path.absolute()


def decode_raw_depth(raw: RawDepth) -> DepthMap:
    """The map, decoded.

    Raises:
        SdvlmError: its file is gone or has changed.
    """
    if raw.data is not None:
        return decode_depth(raw.data, raw.source)
    assert raw.file is not None  # a map lies in one of the two
    return read_depth(raw.file, kind=raw.kind, scale_to_m=raw.scale_to_m)


def camera_of(cell: object, size: tuple[int, int]) -> Camera | None:
    """The camera of a mapping of fx, fy, cx, cy with pixel centres at integers, for a picture of that size.

    Raises:
        SdvlmError: a field is missing, or it is for another size.
    """
    if cell is None:
        return None
    if not isinstance(cell, Mapping) or any(not isinstance(cell.get(key), int | float) for key in _CAMERA):
        raise SdvlmError(f"a camera is a mapping of fx, fy, cx, cy in pixels; got {str(cell)[:80]}")
    own = (cell.get("width") or size[0], cell.get("height") or size[1])
    if own != size:
        raise SdvlmError(f"the camera is for {own[0]}x{own[1]} pixels but the picture is {size[0]}x{size[1]}")
    return Camera.from_opencv(*size, *(float(cell[key]) for key in _CAMERA))


_CAMERA = ("fx", "fy", "cx", "cy")


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _image_in(file: Path) -> RawImage:
    if file.stat().st_size > MAX_BYTES:
        raise SdvlmError(f"{file}: the picture has {file.stat().st_size} bytes; at most {MAX_BYTES} are read")
    data = file.read_bytes()
    try:
        found = _image_of(data, digest(data))
    except SdvlmError as error:
        raise SdvlmError(f"{file}: {error}") from error
    return RawImage(found.digest, found.size, None, str(file))


def _image_of(data: bytes, key: str) -> RawImage:
    height, width = decode_picture(data).shape[:2]
    return RawImage(key, (width, height), data)


def _same_size(depth: DepthMap, image: RawImage) -> None:
    if depth.size != image.size:
        (w, h), (want_w, want_h) = depth.size, image.size
        raise SdvlmError(f"the depth is {w}x{h} but its picture is {want_w}x{want_h}; resize it (nearest) first")
