"""Depth map to the planes a vision tower reads, and the settings that say how: saved with every depth encoder.

Every plane but ``valid`` is a number of 0..1 mapped onto ``span``, the range in which a tower's normalised RGB lies.
Unknown pixels are 0 in every plane, the middle of a symmetric span, and ``valid`` tells them from a known depth there:
unknown is never "0 metres".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.fusion.coordinate import Z_MAX_M, Z_MIN_M
from sdvlm.geometry.normals import surface_normals
from sdvlm.geometry.transform import ImageTransform
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["CHANNEL_COORDINATES", "EXTRA_CHANNELS", "NEAR_M", "DepthChannels"]

Planes = NDArray[np.float32]

NEAR_M = 0.25
"""depth in metres at which ``inverse`` and ``disparity`` reach 1; nearer is clipped"""
_PERCENTILES = (2.0, 98.0)


def log_metric(depth: DepthMap) -> Planes:
    """(H, W) log(z / 0.1 m) / log(1000): 0 at 10 cm, 1 at 100 m, beyond clipped. One scale for all pictures."""
    share = np.float32(1 / math.log(Z_MAX_M / Z_MIN_M))
    return np.asarray((np.log(np.clip(depth.values, Z_MIN_M, Z_MAX_M)) - np.float32(math.log(Z_MIN_M))) * share)


def inverse(depth: DepthMap) -> Planes:
    """(H, W) 0.25 m / z, at most 1: large is near."""
    return np.asarray(np.minimum(np.float32(NEAR_M) / depth.values, np.float32(1.0)))


def per_image(depth: DepthMap) -> Planes:
    """(H, W) position between the 2nd and the 98th percentile of the picture, clipped; large is far for every kind.

    Carries no metres: a map and its double get the same plane. A flat map is 0.5 everywhere.
    """
    values = -depth.values if depth.kind is DepthKind.DISPARITY else depth.values
    known = values[depth.valid]
    if not known.size:
        return values
    low, high = np.percentile(known, _PERCENTILES)
    if high <= low:
        return np.where(depth.valid, np.float32(0.5), np.float32(np.nan))
    return np.asarray(np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0))


def height(depth: DepthMap, camera: Camera) -> Planes:
    """(H, W) height over the camera, in 0..1: 0.5 is level with it, log-like in metres, +-100 m at the ends.

    Up is the picture's up: exact for a level camera, turned with a tilted one.
    """
    up = (camera.cy - 0.5 - np.arange(camera.height)) / camera.fy  # of each row at z = 1
    metres = up.astype(np.float32)[:, None] * depth.values
    share = np.float32(0.5 / math.asinh(Z_MAX_M / Z_MIN_M))
    return np.asarray(np.clip(0.5 + share * np.arcsinh(metres / np.float32(Z_MIN_M)), 0.0, 1.0))


def normal(depth: DepthMap, camera: Camera) -> Planes:
    """(H, W) cosine between surface normal and the picture's up, in 0..1: floor 1, wall 0.5, ceiling 0."""
    return np.asarray(0.5 - 0.5 * surface_normals(depth, camera)[..., 1], dtype=np.float32)  # camera y points down


CHANNEL_COORDINATES: dict[str, Callable[[DepthMap], Planes]] = {
    "log_metric": log_metric,
    "inverse": inverse,
    "per_image": per_image,
}
_SEEN: dict[str, Callable[[DepthMap, Camera], Planes]] = {"height": height, "normal": normal}
EXTRA_CHANNELS = ("valid", "disparity", "height", "normal")
"""further planes; ``height`` and ``normal`` are unknown (0) without a camera. The last three are the code called HHA"""


@dataclass(frozen=True)
class DepthChannels:
    """Which planes, in which order.

    Args:
        coordinate: of the first plane, which takes over what the tower read RGB for: ``log_metric``, ``inverse`` or
            ``per_image``.
        extras: further planes, any of ``EXTRA_CHANNELS``.
        span: values that 0 and 1 become.

    Raises:
        SdvlmError: no such coordinate or extra, one twice, or an empty span.
    """

    coordinate: str = "log_metric"
    extras: tuple[str, ...] = ("valid",)
    span: tuple[float, float] = (-2.0, 2.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extras", tuple(self.extras))  # lists in saved settings
        object.__setattr__(self, "span", tuple(float(end) for end in self.span))
        if self.coordinate not in CHANNEL_COORDINATES:
            known = ", ".join(CHANNEL_COORDINATES)
            raise SdvlmError(f"no depth coordinate '{self.coordinate}' for planes; choose one of {known}")
        strange = [name for name in self.extras if name not in EXTRA_CHANNELS]
        if strange or len(set(self.extras)) < len(self.extras):
            raise SdvlmError(f"extra planes must be different ones of {', '.join(EXTRA_CHANNELS)}; got {self.extras}")
        if len(self.span) != 2 or not self.span[0] < self.span[1] or not all(map(math.isfinite, self.span)):
            raise SdvlmError(f"a span goes from a smaller to a larger number, such as (-2, 2); got {self.span}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the planes, in order."""
        return (self.coordinate, *self.extras)

    @property
    def count(self) -> int:
        """Planes."""
        return len(self.names)

    @property
    def kinds(self) -> frozenset[DepthKind]:
        """The depth kinds all planes are defined for."""
        any_kind = self.coordinate == "per_image" and set(self.extras) <= {"valid"}
        return frozenset(DepthKind) if any_kind else frozenset({DepthKind.METRIC})

    def planes(
        self, depth: DepthMap | None, camera: Camera | None = None, size: tuple[int, int] | None = None
    ) -> Planes:
        """(C, H, W) float32 planes of a depth map, never NaN.

        Args:
            depth: of a kind in :attr:`kinds`; None: nothing is known, and ``size`` is needed.
            camera: of the map's size; only ``height`` and ``normal`` need it, and are 0 without.
            size: (width, height) where there is no map.

        Raises:
            SdvlmError: depth of another kind, sizes that disagree, or neither map nor size.
        """
        width, tall = self._size(depth, camera, size)
        out = np.zeros((self.count, tall, width), dtype=np.float32)
        if depth is None:
            return out
        if depth.kind not in self.kinds:
            wanted = " or ".join(sorted(self.kinds))
            raise SdvlmError(
                f"the depth planes {', '.join(self.names)} need {wanted} depth, got {depth.kind}; "
                "give such depth, or use the coordinate 'per_image' with no extra but 'valid'"
            )
        for plane, name in zip(out, self.names, strict=True):
            plane[:] = depth.valid if name == "valid" else self._mapped(name, depth, camera)
        return out

    def processed(self, steps: ImageTransform, depth: DepthMap | None, camera: Camera | None = None) -> Planes:
        """(C, h, w) planes after a picture's resize, crop and pad, all replayed by nearest neighbour on its planes.

        Planes come before the resize: percentiles are the whole picture's, and normals do not see the repeated rows of
        a map made larger. What the steps add (padding) is unknown. Arguments and errors as for :meth:`planes`.
        """
        return np.stack([steps.mask(plane) for plane in self.planes(depth, camera, steps.source_size)])

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"coordinate": self.coordinate, "extras": list(self.extras), "span": list(self.span)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DepthChannels:
        """What :meth:`to_dict` gave.

        Raises:
            SdvlmError: a setting this version does not know, or one that does not pass the checks.
        """
        known = {one.name for one in dataclasses.fields(cls)}
        if strange := sorted(set(values) - known):
            raise SdvlmError(f"depth planes have no setting {', '.join(strange)}; known: {', '.join(sorted(known))}")
        return cls(**values)

    def _mapped(self, name: str, depth: DepthMap, camera: Camera | None) -> Planes | float:
        """(H, W) plane on the span, 0 where unknown."""
        if name in _SEEN and camera is None:
            return 0.0
        if name in _SEEN:
            assert camera is not None
            values = _SEEN[name](depth, camera)
        else:
            values = CHANNEL_COORDINATES["inverse" if name == "disparity" else name](depth)
        low, high = self.span
        return np.asarray(np.nan_to_num(np.float32(low) + np.float32(high - low) * values, nan=0.0, copy=False))

    @staticmethod
    def _size(depth: DepthMap | None, camera: Camera | None, size: tuple[int, int] | None) -> tuple[int, int]:
        sizes = [part.size for part in (depth, camera) if part is not None] + ([size] if size else [])
        if (depth is None and size is None) or len(set(sizes)) != 1:
            raise SdvlmError(
                f"depth planes need a depth map or a size, and all of one (width, height); got {sizes or 'neither'}"
            )
        return sizes[0]
