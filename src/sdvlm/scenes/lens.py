"""Lenses that bend straight lines, and pictures through them brought to a pinhole camera.

Pixel coordinates have centres at +0.5, which is COLMAP's convention as well as ours, so its numbers are taken as they
are. Formulas: "radial_tangential" is OpenCV's (k1, k2, p1, p2), "fisheye" the equidistant model with the polynomial
theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) of the angle theta to the optical axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.types import Camera, SdvlmError

__all__ = ["Lens", "pinhole_of", "straighten", "straighten_nearest"]

Array = NDArray[np.float64]

_PATCHES = 110
"""rectangles along a picture's width that are straightened as one"""
_SAME_ASPECT = 0.02


@dataclass(frozen=True)
class Lens:
    """Intrinsics of pictures as they were taken.

    Args:
        camera: size, focal lengths and principal point.
        kind: how directions are bent.
        coefficients: k1, k2, p1, p2 or k1, k2, k3, k4; all zero for a pinhole.

    Raises:
        SdvlmError: a coefficient is not finite.
    """

    camera: Camera
    kind: Literal["pinhole", "radial_tangential", "fisheye"] = "pinhole"
    coefficients: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not all(math.isfinite(one) for one in self.coefficients):
            raise SdvlmError(f"lens coefficients must be finite; got {self.coefficients}")

    @property
    def is_straight(self) -> bool:
        """Whether pictures are those of a pinhole already."""
        return self.kind == "pinhole" or (self.kind == "radial_tangential" and not any(self.coefficients))

    def scaled(self, size: tuple[int, int]) -> Lens:
        """The same lens for pictures stored at another size.

        Raises:
            SdvlmError: the sides' ratio is another.
        """
        (width, height), camera = size, self.camera
        sx, sy = width / camera.width, height / camera.height
        if abs(sx / sy - 1) > _SAME_ASPECT:
            raise SdvlmError(
                f"pictures are {width}x{height} but their camera is for {camera.width}x{camera.height}; "
                "they are of different cameras"
            )
        resized = Camera(width, height, camera.fx * sx, camera.fy * sy, camera.cx * sx, camera.cy * sy)
        return Lens(resized, self.kind, self.coefficients)

    def project(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Pixels (u, v) of directions (x, y, 1) in the camera frame; NaN beyond what the formula can bend."""
        r = np.hypot(x, y)
        bent_x, bent_y = x, y
        if self.kind == "fisheye":
            k1, k2, k3, k4 = self.coefficients
            theta = np.arctan(r)
            t2 = theta * theta
            bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
            scale = np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)
            bent_x, bent_y = x * scale, y * scale
        elif self.kind == "radial_tangential":
            k1, k2, p1, p2 = self.coefficients
            r2 = r * r
            radial = 1 + r2 * (k1 + r2 * k2)
            bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
            bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        beyond = r > _largest_radius(self)
        u = np.where(beyond, np.nan, self.camera.fx * bent_x + self.camera.cx)
        v = np.where(beyond, np.nan, self.camera.fy * bent_y + self.camera.cy)
        return u, v


@lru_cache(maxsize=64)
def _largest_radius(lens: Lens) -> float:
    """Radius r of a direction (r, 0, 1) from which on the polynomial turns back: what lies beyond has no pixel."""
    theta = np.linspace(0, math.pi / 2 - 1e-3, 4000)
    r = np.tan(theta)
    if lens.kind == "pinhole":
        return math.inf
    if lens.kind == "fisheye":
        bent = theta * (1 + sum(k * theta ** (2 * n) for n, k in enumerate(lens.coefficients, start=1)))
    else:
        k1, k2, *_ = lens.coefficients
        bent = r * (1 + k1 * r**2 + k2 * r**4)
    back = np.flatnonzero(np.diff(bent) <= 0)
    return float(r[back[0]]) if len(back) else float(r[-1])


@lru_cache(maxsize=64)
def pinhole_of(lens: Lens) -> Camera:
    """The pinhole camera to straighten a lens's pictures to: same size, principal point in the middle, square pixels,
    and the widest view in which every pixel has a source.

    Raises:
        SdvlmError: no such view, because the coefficients make no lens.
    """
    if lens.is_straight:
        return lens.camera
    width, height = lens.camera.size
    columns, rows = np.arange(width + 1) - width / 2, np.arange(height + 1) - height / 2
    left, top = np.full(height + 1, width / 2), np.full(width + 1, height / 2)
    u = np.concatenate([columns, columns, -left, left])
    v = np.concatenate([-top, top, rows, rows])

    def fits(focal: float) -> bool:
        found_u, found_v = lens.project(u / focal, v / focal)
        with np.errstate(invalid="ignore"):
            inside = (found_u >= 0.5) & (found_u <= width - 0.5) & (found_v >= 0.5) & (found_v <= height - 0.5)
        return bool(inside.all())

    low, high = 0.02 * width, 50.0 * width
    if not fits(high):
        raise SdvlmError(f"lens {lens} shows no straight picture; its coefficients or principal point are wrong")
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return Camera(width, height, high, high, width / 2, height / 2)


@lru_cache(maxsize=4)
def _sources(lens: Lens) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, W) pixel coordinates u, v in the bent picture of each pixel of the straight one."""
    camera = pinhole_of(lens)
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    u, v = lens.project(*np.meshgrid(x, y))
    return u.astype(np.float32), v.astype(np.float32)


def straighten(image: NDArray[np.uint8], lens: Lens) -> NDArray[np.uint8]:
    """A picture as `pinhole_of` the lens sees it, bilinear between pixel centres.

    Args:
        image: (H, W, 3) uint8 of the lens's size.
        lens: that took it.

    Raises:
        SdvlmError: the picture is of another size.
    """
    height, width = image.shape[:2]
    if (width, height) != lens.camera.size:
        raise SdvlmError(f"picture is {width}x{height} but its lens is for {lens.camera.width}x{lens.camera.height}")
    if lens.is_straight:
        return image
    straight = Image.fromarray(image).transform(
        (width, height), Image.Transform.MESH, _patches(lens), Image.Resampling.BILINEAR
    )
    return np.asarray(straight)


@lru_cache(maxsize=4)
def _patches(lens: Lens) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Small rectangles of the straight picture and the corners they have in the bent one, as Pillow takes them.

    Inside a rectangle the bend is taken as bilinear, which is off by hundredths of a pixel at these sizes.
    """
    camera = pinhole_of(lens)
    side = max(2, camera.width // _PATCHES)
    columns = [*range(0, camera.width, side), camera.width]
    rows = [*range(0, camera.height, side), camera.height]
    x, y = (np.array(columns) - camera.cx) / camera.fx, (np.array(rows) - camera.cy) / camera.fy
    u, v = lens.project(*np.meshgrid(x, y))
    first, last = slice(None, -1), slice(1, None)
    around = ((first, first), (last, first), (last, last), (first, last))
    corners = np.stack([one[corner] for corner in around for one in (u, v)], axis=-1).tolist()
    return [
        ((columns[j], rows[i], columns[j + 1], rows[i + 1]), tuple(corners[i][j]))
        for i in range(len(rows) - 1)
        for j in range(len(columns) - 1)
    ]


def straighten_nearest(depth_m: NDArray[np.float32], lens: Lens) -> NDArray[np.float32]:
    """A depth map taken through the same lens, of any resolution, at the pixels of `pinhole_of` the lens.

    Nothing is interpolated: each pixel takes the depth pixel it falls in.

    Args:
        depth_m: (Hd, Wd) metres along the optical axis, NaN unknown; covers the same view as the lens's pictures.
        lens: of the colour pictures.

    Returns:
        (H, W) float32 of the lens's size.
    """
    u, v = _sources(lens)
    height, width = depth_m.shape
    column = np.clip(u * (width / lens.camera.width), 0, width - 1).astype(np.int32)
    row = np.clip(v * (height / lens.camera.height), 0, height - 1).astype(np.int32)
    return np.asarray(depth_m[row, column], dtype=np.float32)
