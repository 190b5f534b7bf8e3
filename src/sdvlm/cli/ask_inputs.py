"""What ``sdvlm ask`` is given: pictures, and the depth and camera that go with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.types import Camera, DepthMap, RgbdFrame

__all__ = ["Given", "load_given"]

_READING_OPTIONS = {
    "kind": "--depth-kind",
    "scale_to_m": "--depth-scale",
    "codec": "--depth-codec",
    "resize_depth": "--resize-depth",
}
_DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".json", ".exr", ".pgm", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Given:
    """Pictures as read from disk, before there is a model.

    Args:
        images: where they lie.
        frames: each with its camera where one was given, and with depth from an estimator or a file of its size.
        source: of depth: ``auto``, ``none``, a file, or an estimator.
        read: the depth of a file, in its own size.
        reading: options to read the file with.
    """

    images: tuple[Path, ...]
    frames: tuple[RgbdFrame, ...]
    source: str
    read: DepthMap | None
    reading: dict[str, Any]

    def with_depth(self, processor: DepthProcessor) -> tuple[tuple[RgbdFrame, ...], list[DepthMap | None]]:
        """The pictures, and the depth that the model is to be given of each.

        A model in the released mode gets pictures as they are stored, not turned by their EXIF orientation, unless an
        estimator has seen them upright.

        Raises:
            SdvlmError: a file's depth has another size than the picture, and the model cannot take that.
        """
        released = processor.fusion is not None and processor.fusion.pooling == "unpadded"
        frames = self._as_stored() if released else self.frames
        if self.source == "none":
            return frames, [None] * len(frames)
        if self.source == "auto":
            return frames, [processor.own_depth(frame) for frame in frames]
        if self.read is not None and released:
            return frames, [self.read]
        if self.read is not None and self.read.size != self.frames[0].size:
            from sdvlm.depth.frame import load_rgbd

            frame = load_rgbd(self.images[0], Path(self.source), self.frames[0].camera, **self.reading)
            return (frame,), [frame.depth]
        return self.frames, [frame.depth for frame in self.frames]

    def _as_stored(self) -> tuple[RgbdFrame, ...]:
        """The pictures without EXIF turning; without the camera and the depth of an upright one where that matters."""
        from sdvlm.depth.frame import load_image

        stored = [load_image(path, upright=False) for path in self.images]
        return tuple(
            frame if np.array_equal(frame.image, image) else replace(frame, image=image, depth=None, camera=None)
            for frame, image in zip(self.frames, stored, strict=True)
        )


def load_given(
    images: list[Path],
    depth: str,
    camera: str | None,
    fov: float | None,
    device: str | None,
    reading: dict[str, Any],
) -> Given:
    """Everything that can be read, and refused, before a model is loaded.

    Args:
        images: at least one.
        depth: ``auto``, ``none``, a file (for one picture), or an estimator.
        camera, fov: for one picture.
        device: for an estimator.
        reading: how to read a depth file.

    Raises:
        SdvlmError: a file is unusable, or options do not go together.
    """
    from sdvlm.depth.frame import load_image, load_rgbd
    from sdvlm.depth.io import read_depth
    from sdvlm.types import Camera, SdvlmError

    if camera is not None and fov is not None:
        raise SdvlmError("got --camera and --fov, which both say where rays go; give one of them")
    from_file = depth not in ("auto", "none") and _is_file(depth)
    if len(images) > 1 and (from_file or camera is not None or fov is not None):
        raise SdvlmError(f"a depth file, --camera and --fov are for one picture; got {len(images)} pictures")
    known: Camera | str | None = camera
    if fov is not None:
        height, width = load_image(images[0]).shape[:2]
        known = Camera.from_fov(width, height, fov)
    given = [_READING_OPTIONS[name] for name, value in reading.items() if value]
    if given and not from_file:
        raise SdvlmError(f"{', '.join(given)} is for depth files, and {depth!r} is none; leave it out")
    frames = tuple(load_rgbd(image, camera=known) for image in images)
    read = None
    if from_file:
        how = {name: value for name, value in reading.items() if name != "resize_depth"}
        read = read_depth(depth, size=frames[0].size, **how)
        if read.size == frames[0].size:
            frames = (replace(frames[0], depth=read),)
    elif depth not in ("auto", "none"):
        frames = tuple(_estimated(depth, frame, device) for frame in frames)
    return Given(tuple(images), frames, depth, read, reading)


def _is_file(depth: str) -> bool:
    """A file that is there, or a name that can only be meant as one (then reading says that it is missing)."""
    path = Path(depth)
    return path.is_file() or (not path.exists() and path.suffix.lower() in _DEPTH_SUFFIXES)


def _estimated(source: str, frame: RgbdFrame, device: str | None) -> RgbdFrame:
    from sdvlm.depth.cache import estimate_cached
    from sdvlm.depth.estimator import load_estimator

    estimate = estimate_cached(load_estimator(source, device=device), [frame.image], [frame.camera])[0]
    return replace(frame, depth=estimate.depth, camera=frame.camera or estimate.camera)
