"""The files of one RGB-D frame on disk: picture, depth, mask; found, checked for belonging together, and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.depth.io import read_depth
from sdvlm.depth.raw import DECODE_ERRORS, check_size, one_line, quiet_pillow
from sdvlm.scenes.pictures import decode_color, read_bytes
from sdvlm.scenes.register import register_depth
from sdvlm.scenes.scene import SceneFrame
from sdvlm.types import Camera, DepthKind, DepthMap, RgbdFrame, SdvlmError

__all__ = ["DepthFile", "FrameFiles", "check_picture", "find_frames", "make_frame", "read_mask"]

PICTURES = (".jpg", ".jpeg", ".png")
DEPTHS = (".png", ".npy", ".npz", ".tif", ".tiff", ".json", ".exr")
"""suffixes after ``NAME.depth``; what the file really is is told by its content (`sdvlm.depth.io`)"""
_SUFFIXES: dict[str, tuple[str, ...]] = {"picture": PICTURES, "depth": DEPTHS, "mask": (".png",)}
_EXIF_ORIENTATION = 0x0112
_TAIL_BYTES = 65536


@dataclass(frozen=True)
class FrameFiles:
    """``NAME.jpg``, ``NAME.depth.*`` and, where there is one, ``NAME.mask.png``."""

    name: str
    picture: Path
    depth: Path | None
    mask: Path | None


@dataclass(frozen=True)
class DepthFile:
    """A depth file and what its numbers mean: see `sdvlm.depth.io.read_depth`; ``camera`` if it has one of its own."""

    path: Path
    scale_to_m: float | None = None
    codec: str | None = None
    camera: Camera | None = None

    def read(self, camera: Camera) -> DepthMap:
        """Metres on the pixels of ``camera``.

        Raises:
            SdvlmError: unreadable, not metric, or of a size that is not the camera's (nor its own camera's).
        """
        own = self.camera or camera
        depth = read_depth(self.path, scale_to_m=self.scale_to_m, codec=self.codec, size=own.size)
        if depth.kind is not DepthKind.METRIC:
            raise SdvlmError(f"{self.path}: holds {depth.kind.value} depth; wanted metres (metric)")
        if depth.size != own.size:
            (w, h), (want_w, want_h) = depth.size, own.size
            raise SdvlmError(
                f"{self.path}: depth is {w}x{h} but its camera is for {want_w}x{want_h}; "
                "give depth of another size a camera of its own (depth.camera)"
            )
        return DepthMap(register_depth(depth.values, own, camera), source=depth.source)


def find_frames(folder: Path) -> dict[str, FrameFiles]:
    """Frames of a folder by name, numbers in numerical order.

    Raises:
        SdvlmError: no such folder, or two files that claim to be the same part of one frame.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise SdvlmError(f"{folder}: cannot be listed: {one_line(error)}") from error
    parts: dict[str, dict[str, Path]] = {part: {} for part in _SUFFIXES}
    for path in files:
        suffix, stem = path.suffix.lower(), path.stem
        part = next((one for one in ("depth", "mask") if stem.endswith(f".{one}")), "picture")
        name = stem.removesuffix(f".{part}")
        if suffix in _SUFFIXES[part]:
            if name in parts[part]:
                raise SdvlmError(f"{path}: and {parts[part][name].name} are both the {part} of frame {name}; keep one")
            parts[part][name] = path
    names = sorted(
        parts["picture"], key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
    )
    return {
        name: FrameFiles(name, parts["picture"][name], parts["depth"].get(name), parts["mask"].get(name))
        for name in names
    }


def check_picture(path: Path, camera: Camera) -> None:
    """Refuse, by its header and its end alone, a picture that is cut short, turned by EXIF or not of the camera's size.

    Raises:
        SdvlmError: with the fix.
    """
    try:
        with quiet_pillow(), Image.open(path, formats=["JPEG", "PNG"]) as opened:
            size, is_png = opened.size, opened.format == "PNG"
            noted = not is_png or "exif" in opened.info  # a PNG without it is decoded in search of one at its end
            turned = opened.getexif().get(_EXIF_ORIENTATION, 1) if noted else 1
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            tail = stream.read()
    except DECODE_ERRORS as error:
        raise SdvlmError(f"{path}: cannot be read as a JPEG or PNG picture: {one_line(error)}") from error
    if (b"IEND" if is_png else b"\xff\xd9") not in tail:
        raise SdvlmError(f"{path}: is cut short: the end of the picture is missing; copy it again")
    if turned not in (0, 1):
        raise SdvlmError(
            f"{path}: is turned by its EXIF orientation ({turned}), depth and camera are not; store it upright"
        )
    if size != camera.size:
        raise SdvlmError(
            f"{path}: the picture is {size[0]}x{size[1]} but its camera is for {camera.width}x{camera.height}"
        )


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.int32]:
    """(H, W) int32 instance ids of an 8-bit, 16-bit or palette PNG, 0 = none.

    Raises:
        SdvlmError: unreadable, in colour, or not of ``size`` (width, height).
    """
    try:
        with quiet_pillow(), Image.open(path, formats=["PNG"]) as opened:
            check_size(*opened.size, path)
            if opened.mode not in ("L", "P", "1", "I", "I;16", "I;16B", "I;16L"):
                raise SdvlmError(f"{path}: a mask holds one id a pixel (8- or 16-bit grey PNG); got {opened.mode}")
            ids = np.asarray(opened).astype(np.int32)
    except SdvlmError:
        raise
    except DECODE_ERRORS as error:
        raise SdvlmError(f"{path}: cannot be read as a PNG: {one_line(error)}; it may be cut short") from error
    if ids.shape[::-1] != size:
        (w, h), (want_w, want_h) = ids.shape[::-1], size
        raise SdvlmError(f"{path}: the mask is {w}x{h} but the picture is {want_w}x{want_h}; masks are of its size")
    return ids


def make_frame(
    frame_id: str,
    label: str,
    picture: Path,
    depth: DepthFile,
    camera: Camera,
    T_world_cam: NDArray[np.float64],
    instances: Callable[[], NDArray[np.int32]] | None = None,
) -> SceneFrame:
    """A frame that reads its files when asked.

    Args:
        frame_id: unique in its scene.
        label: for messages.
        picture: the colour picture.
        depth: the depth picture.
        camera: of the colour picture.
        T_world_cam: (4, 4).
        instances: reads its masks.
    """

    def load() -> RgbdFrame:
        image = decode_color(read_bytes(picture), str(picture), camera.size)
        return RgbdFrame(image, depth.read(camera), camera, T_world_cam, label)

    return SceneFrame(
        frame_id,
        camera,
        T_world_cam,
        load,
        image_path=picture,
        instances=instances,
        picture=lambda: read_bytes(picture),
    )
