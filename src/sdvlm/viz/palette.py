"""Colours: a perceptually uniform ramp for depth, and colours that tell boxes apart.

Both are made in OKLCh (Ottosson 2020, "A perceptual color space for image processing"): lightness, chroma and hue there
are close to what an eye sees, so equal steps in metres look like equal steps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["UNKNOWN", "depth_ramp", "distinct_color", "hatching"]

UNKNOWN = ((196, 196, 196), (164, 164, 164))
"""the two grays of the hatching that stands for unknown depth; no colour of the ramp is gray"""

_LMS_FROM_LAB = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]]
)
_RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def _linear_rgb(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue_deg: NDArray[np.float64]
) -> NDArray[np.float64]:
    angle = np.radians(hue_deg)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    return np.asarray((lab @ _LMS_FROM_LAB.T) ** 3 @ _RGB_FROM_LMS.T)


def _srgb(lightness: ArrayLike, chroma: ArrayLike, hue_deg: ArrayLike) -> NDArray[np.uint8]:
    """OKLCh to (..., 3) uint8 sRGB; a colour that a screen cannot show loses chroma, never lightness or hue."""
    light, color, hue = (np.asarray(part, dtype=np.float64) for part in np.broadcast_arrays(lightness, chroma, hue_deg))
    shown = np.zeros_like(color)
    for share in np.linspace(0.0, 1.0, 65):
        rgb = _linear_rgb(light, share * color, hue)
        fits = ((rgb >= -1e-4) & (rgb <= 1 + 1e-4)).all(axis=-1)
        shown = np.where(fits, share * color, shown)
    linear = np.clip(_linear_rgb(light, shown, hue), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * encoded), dtype=np.uint8)


@lru_cache(maxsize=1)
def depth_ramp() -> NDArray[np.uint8]:
    """(256, 3) uint8 sRGB, near to far: light yellow over red to dark violet, lightness falling linearly."""
    far = np.linspace(0.0, 1.0, 256)
    hue = 102 - 172 * far  # yellow 102, red 25, violet -70
    return _srgb(0.93 - 0.68 * far, np.interp(far, [0, 0.35, 0.7, 1], [0.13, 0.2, 0.19, 0.11]), hue)


@lru_cache(maxsize=256)
def distinct_color(index: int) -> tuple[int, int, int]:
    """The ``index``-th of a series of light colours that differ in hue; dark text can be read on each."""
    golden = 137.508  # degrees: successive hues never fall close together
    red, green, blue = _srgb(0.84 - 0.05 * (index % 3), 0.15, (60 + golden * index) % 360).tolist()
    return red, green, blue


def hatching(height: int, width: int, period: int = 8) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: diagonal stripes in the two grays of :data:`UNKNOWN`."""
    stripe = (np.add.outer(np.arange(height), np.arange(width)) % period) < period // 2
    light, dark = (np.array(gray, dtype=np.uint8) for gray in UNKNOWN)
    return np.where(stripe[..., None], light, dark)
