"""The values that cross every public boundary: depth, camera, frame, box.

All are frozen and checked on construction, hold NumPy arrays, and know nothing of files or torch.
Conventions (``docs/conventions.md``): metres; OpenCV camera axes (x right, y down, z forward); pixel ``(i, j)``
covers ``[j, j + 1) x [i, i + 1)``, so its centre lies at ``(j + 0.5, i + 0.5)``; ``T_a_b`` maps points of b into a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box3D", "Camera", "DepthKind", "DepthMap", "RgbdFrame", "SdvlmError"]


class SdvlmError(ValueError):
    """Bad input, told in one line: what was seen, what is wanted, the fix. The CLI prints it and exits with 2."""


class DepthKind(StrEnum):
    """What the numbers of a depth map mean."""

    METRIC = "metric"
    """metres along the optical axis; larger is farther"""
    RELATIVE = "relative"
    """depth up to an unknown scale and shift; larger is farther"""
    DISPARITY = "disparity"
    """inverse depth up to an unknown scale and shift; larger is nearer"""


@dataclass(frozen=True, eq=False)
class DepthMap:
    """A depth map together with what its numbers mean.

    Args:
        values: (H, W) float; NaN where depth is unknown. Metric values are metres along the optical axis and positive:
            zero, negative and infinite metric values are turned into NaN.
        kind: metric, relative or disparity.
        source: who made it: a sensor, a file codec or an estimator id. Free text, kept for reports.

    Raises:
        SdvlmError: ``values`` is not a non-empty 2D array of numbers, or there is no such kind.
    """

    values: NDArray[np.float32]
    kind: DepthKind = DepthKind.METRIC
    source: str = "unknown"

    def __post_init__(self) -> None:
        given = np.asarray(self.values)
        if given.ndim != 2 or given.size == 0 or given.dtype.kind not in "buif":
            got = f"shape {given.shape} of {given.dtype}"
            raise SdvlmError(f"depth must be a non-empty 2D array (height, width) of numbers; got {got}")
        if self.kind not in tuple(DepthKind):
            raise SdvlmError(f"no depth kind '{self.kind}'; choose one of {', '.join(DepthKind)}")
        kind = DepthKind(self.kind)
        with np.errstate(over="ignore"):
            values = np.array(given, dtype=np.float32)  # a copy of our own
        with np.errstate(invalid="ignore"):
            unknown = ~np.isfinite(values) | ((values <= 0) if kind is DepthKind.METRIC else False)
        values[unknown] = np.nan
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "kind", kind)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) bool: where depth is known."""
        return ~np.isnan(self.values)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.values.shape[1], self.values.shape[0]

    def scaled(self, factor: float) -> DepthMap:
        """The same map with every value multiplied by ``factor`` > 0."""
        if not factor > 0 or not math.isfinite(factor):
            raise SdvlmError(f"depth scale must be a positive number; got {factor}")
        return replace(self, values=self.values * np.float32(factor))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera bound to an image size, in pixels, with pixel centres at +0.5.

    A calibration that puts pixel centres at integers (OpenCV, ROS, ScanNet) comes in through :meth:`from_opencv`.

    Raises:
        SdvlmError: a size or focal length is not positive, or a number is not finite. The principal point may lie
            outside the image, as that of a crop does.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        for name in ("fx", "fy", "cx", "cy"):
            value = float(getattr(self, name))
            if not math.isfinite(value):
                raise SdvlmError(f"camera {name} must be a finite number of pixels; got {value}")
            object.__setattr__(self, name, value)
        if self.width <= 0 or self.height <= 0:
            raise SdvlmError(f"camera needs a positive image size; got {self.width}x{self.height}")
        if self.fx <= 0 or self.fy <= 0:
            raise SdvlmError(f"focal lengths must be positive pixels; got fx={self.fx}, fy={self.fy}")

    @classmethod
    def from_fov(cls, width: int, height: int, fov_x_deg: float) -> Camera:
        """Square pixels, principal point in the middle, horizontal field of view in degrees (0..180)."""
        if not 0 < fov_x_deg < 180:
            raise SdvlmError(f"field of view must lie between 0 and 180 degrees; got {fov_x_deg}")
        focal = 0.5 * width / math.tan(math.radians(fov_x_deg) / 2)
        return cls(width, height, focal, focal, width / 2, height / 2)

    @classmethod
    def from_opencv(cls, width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> Camera:
        """From a calibration whose pixel centres lie at integers: the principal point moves by half a pixel."""
        return cls(width, height, fx, fy, cx + 0.5, cy + 0.5)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) intrinsic matrix for pixel centres at +0.5."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])

    @property
    def fov_x_deg(self) -> float:
        """Horizontal field of view in degrees."""
        return math.degrees(math.atan2(self.cx, self.fx) + math.atan2(self.width - self.cx, self.fx))


@dataclass(frozen=True, eq=False)
class Box3D:
    """An oriented box.

    Args:
        center: (3,) metres, in the frame the box lives in.
        size: (3,) full extents in metres along the box's own axes: length, width, height.
        rotation: (3, 3) proper rotation; its columns are the box's axes in that frame. Default: axis-aligned.
    """

    center: NDArray[np.float64]
    size: NDArray[np.float64]
    rotation: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        for name, shape in (("center", (3,)), ("size", (3,)), ("rotation", (3, 3))):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise SdvlmError(f"box {name} must be finite and of shape {shape}; got {value.tolist()}")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if (self.size < 0).any():
            raise SdvlmError(f"box size must not be negative; got {self.size.tolist()}")
        if not np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(self.rotation) < 0:
            raise SdvlmError("box rotation must be a proper rotation matrix (orthonormal, determinant +1)")

    @classmethod
    def from_yaw(cls, center: NDArray[np.float64], size: NDArray[np.float64], yaw_rad: float) -> Box3D:
        """An upright box in a z-up frame, turned by ``yaw_rad`` about +z (counter-clockwise from above)."""
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        return cls(center, size, np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]))

    @property
    def yaw_rad(self) -> float:
        """Heading of the first axis about +z, radians in (-pi, pi]; for upright boxes in a z-up frame."""
        return math.atan2(self.rotation[1, 0], self.rotation[0, 0])

    def corners(self) -> NDArray[np.float64]:
        """(8, 3) corners; bit 2 of the index is the sign along the first axis, bit 1 the second, bit 0 the third."""
        signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        return np.asarray(self.center + (signs * self.size) @ self.rotation.T)

    def transformed(self, T_new_old: NDArray[np.float64]) -> Box3D:
        """The same box in another frame. ``T_new_old``: (4, 4) rigid transform."""
        R, t = T_new_old[:3, :3], T_new_old[:3, 3]
        return Box3D(R @ self.center + t, self.size, R @ self.rotation)


@dataclass(frozen=True, eq=False)
class RgbdFrame:
    """One picture with what is known of its geometry.

    Args:
        image: (H, W, 3) uint8 sRGB.
        depth: a map of the same size as the image, or None.
        camera: intrinsics for this image size, or None.
        T_world_cam: (4, 4) camera-to-world pose, or None.
        name: for messages.

    Raises:
        SdvlmError: shapes disagree; the message gives both sizes.
    """

    image: NDArray[np.uint8]
    depth: DepthMap | None = None
    camera: Camera | None = None
    T_world_cam: NDArray[np.float64] | None = None
    name: str = "frame"

    def __post_init__(self) -> None:
        shape = self.image.shape
        if len(shape) != 3 or shape[2] != 3 or self.image.size == 0 or self.image.dtype != np.uint8:
            raise SdvlmError(f"{self.name}: image must be (height, width, 3) uint8; got {shape} {self.image.dtype}")
        if self.T_world_cam is not None and self.T_world_cam.shape != (4, 4):
            raise SdvlmError(f"{self.name}: a pose is (4, 4), camera to world; got {self.T_world_cam.shape}")
        for what, part in (("depth", self.depth), ("camera", self.camera)):
            if part is not None and part.size != self.size:
                (w, h), (want_w, want_h) = part.size, self.size
                raise SdvlmError(f"{self.name}: {what} is for {w}x{h} pixels but the image is {want_w}x{want_h}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]
