"""What every source does with the bytes of one picture, and of its depth where there are some: a pair, or a refusal."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sdvlm.depth.io import read_depth
from sdvlm.depth.raw import one_line
from sdvlm.geometry.transform import resize
from sdvlm.pairs.decode import DecodeConfig, Decoded, decode
from sdvlm.pairs.source import RawPair, Refusal
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["Reading", "array_bytes"]

_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class Reading:
    """How the bytes of a picture, and of its depth, are read.

    Raises:
        SdvlmError: there is no such depth kind.
    """

    decode: DecodeConfig = field(default_factory=DecodeConfig)
    """which pictures are taken"""
    camera: Camera | None = None
    """intrinsics of every (upright) picture; pictures of another size are refused"""
    depth_kind: DepthKind | None = None
    """what stored depth holds; None: what it says of itself, else metres (`sdvlm.depth.io.read_depth`)"""
    depth_scale: float | None = None
    """metres per stored unit; None: what the depth says of itself, else millimetres if it is 16-bit, metres if float"""
    resize_depth: bool = False
    """depth of another size than its picture is resampled, nearest neighbour; else such a pair is refused"""

    def __post_init__(self) -> None:
        if self.depth_kind is not None and self.depth_kind not in tuple(DepthKind):
            raise SdvlmError(f"no depth kind '{self.depth_kind}'; choose one of {', '.join(DepthKind)}")

    def settings(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    def pair(
        self, pair_id: str, picture: Callable[[], bytes], depth: Callable[[], bytes] | None = None, scene_id: str = ""
    ) -> RawPair | Refusal:
        """Read and decode one picture.

        Args:
            pair_id: what messages call it, too.
            picture: reads the encoded picture; what it cannot read it says as an `SdvlmError`.
            depth: reads the encoded depth; None: there is none.
            scene_id: the scene it shows.

        Raises:
            OSError: this machine fails (its disk is full), which is no fault of the picture.
        """
        try:
            data, depth_data = picture(), depth() if depth is not None else None
            decoded = decode(data, pair_id, self.decode)
            height, width = decoded.image.shape[:2]
            if self.camera is not None and self.camera.size != (width, height):
                (w, h) = self.camera.size
                raise SdvlmError(
                    f"{pair_id}: is {width}x{height} but its camera is for {w}x{h}; leave it out (--camera)"
                )
            known = None if depth_data is None else self._depth(depth_data, pair_id, decoded)
        except SdvlmError as error:
            return Refusal(pair_id, str(error))
        return RawPair(pair_id, scene_id, decoded.image, decoded.encoded, known, self.camera)

    def _depth(self, data: bytes, name: str, picture: Decoded) -> DepthMap:
        if picture.turned:
            raise SdvlmError(f"{name}: is turned by its EXIF orientation; whether its depth is cannot be told")
        with tempfile.NamedTemporaryFile(prefix="sdvlm-depth-") as file:  # the codecs tell formats by a file's content
            file.write(data)
            file.flush()
            try:
                depth = read_depth(file.name, kind=self.depth_kind, scale_to_m=self.depth_scale)
            except SdvlmError as error:
                raise SdvlmError(str(error).replace(file.name, f"{name} (depth)")) from error
        size = (picture.image.shape[1], picture.image.shape[0])
        if depth.source == Path(file.name).name:
            depth = DepthMap(depth.values, depth.kind, "sensor")
        if depth.size == size:
            return depth
        (w, h), (width, height) = depth.size, size
        if not self.resize_depth or abs(w * height / (h * width) - 1) > _ASPECT_TOLERANCE:
            fix = (
                "they show different views"
                if self.resize_depth
                else "pass resize_depth=True (--resize-depth) if both show one"
            )
            raise SdvlmError(f"{name}: depth is {w}x{h} but the picture is {width}x{height}; {fix}")
        return resize(depth.size, size).depth(depth)


def array_bytes(rows: Any, name: str) -> bytes:
    """Depth that a table holds as nested lists of numbers, as the bytes of an ``.npy`` file.

    Raises:
        SdvlmError: the lists are no rectangle of numbers.
    """
    try:
        values = np.asarray(rows)
        if values.dtype.kind not in "uif":
            raise ValueError(f"it holds {values.dtype}")
    except ValueError as error:
        raise SdvlmError(f"{name}: depth is no rectangle of numbers ({one_line(error)})") from error
    stream = io.BytesIO()
    np.save(stream, values.astype(np.float32) if values.dtype.kind == "f" else values)
    return stream.getvalue()
