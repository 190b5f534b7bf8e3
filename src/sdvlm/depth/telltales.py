"""Signs that a depth file does not hold what it is taken for. Pure functions of the stored numbers.

Each returns None, or a clause that says what was seen. ``depth/io.py`` refuses on them, ``sdvlm doctor`` explains
with them. They speak only where an innocent file hardly ever looks the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.codes import sunrgbd_decode

__all__ = [
    "MAX_MEDIAN_M",
    "MIN_MEDIAN_M",
    "eight_bit_content",
    "grows_downwards",
    "implausible_metres",
    "min_max_normalised",
    "spatialbot_code",
    "sunrgbd_shift",
]

MAX_MEDIAN_M = 200.0
"""no camera of ours sees a scene whose typical point is farther"""
MIN_MEDIAN_M = 0.005
"""nor one whose typical point is nearer than 5 mm"""

_MIN_DISTINCT = 64  # fewer distinct values prove nothing: a test pattern, a flat wall


def implausible_metres(depth_m: NDArray[np.floating[Any]]) -> str | None:
    """Metres whose median no camera sees: another unit, or no metres at all. ``depth_m``: NaN where unknown."""
    known = depth_m[np.isfinite(depth_m) & (depth_m > 0)]
    if not known.size:
        return None
    median = float(np.median(known))
    if median > MAX_MEDIAN_M:
        return f"the median would be {median:.6g} m, so these are not metres (millimetres? disparity?)"
    if median < MIN_MEDIAN_M:
        return f"the median would be {median:.3g} m, so the unit is wrong"
    return None


def min_max_normalised(stored: NDArray[Any]) -> str | None:
    """Values that span a code range exactly (0..1, 0..255, 0..65535): stretched for viewing, not measured."""
    known = stored[np.isfinite(stored)] if np.issubdtype(stored.dtype, np.floating) else stored
    if known.size < _MIN_DISTINCT:
        return None
    low, high = float(known.min()), float(known.max())
    if np.issubdtype(stored.dtype, np.floating):
        for top in (1.0, 255.0, 65535.0):
            if abs(low) <= 1e-6 * top and abs(high - top) <= 1e-6 * top:
                return f"the values span exactly 0..{top:g}, as a min-max normalised map does"
        return None
    # A sensor's 0 (hole) and 65535 (no return) leave a gap below the top; a stretched map fills it.
    if low == 0 and high == 65535:
        far = float(np.mean((known >= 20_000) & (known < 65_535)))
        if far > 0.1 and float(np.mean(known == 65_535)) < 0.01 and int(known[known < 65_535].max()) > 64_000:
            return "the values span exactly 0..65535, as a min-max normalised map does"
    return None


def eight_bit_content(stored: NDArray[np.uint16]) -> str | None:
    """16-bit numbers that carry only 256 levels: an 8-bit picture saved as 16 bits."""
    if stored.max() < 40_000 or len(np.unique(stored)) < 16:
        return None
    for step in (257, 256):
        if not (stored % step).any():
            return f"every value is a multiple of {step}: an 8-bit picture stored in 16 bits"
    return None


def sunrgbd_shift(stored: NDArray[np.uint16]) -> str | None:
    """Bits rotated left by three, as SUN RGB-D stores them: the low three bits hold only what lies beyond 8.191 m."""
    known = stored[stored > 0]
    low_bits = known & np.uint16(7)
    if not known.size or float(np.mean(low_bits <= 1)) < 0.999 or float(np.mean(low_bits == 0)) < 0.5:
        return None
    if len(np.unique(known)) < _MIN_DISTINCT:
        return None
    median_mm = float(np.median(sunrgbd_decode(known)))
    if not 200 <= median_mm <= 16_383:
        return None
    return f"the low three bits are unused, as in SUN RGB-D's bit-shifted files (median {median_mm / 1000:.2f} m then)"


def spatialbot_code(channels: NDArray[np.uint8]) -> str | None:
    """(H, W, 3) red in steps of 4, green and blue in steps of 8, as SpatialBot's three-channel depth code has."""
    colours = channels.reshape(-1, 3)
    if (colours & np.array([3, 7, 7], dtype=np.uint8)).any() or len(np.unique(colours, axis=0)) < 16:
        return None
    return "red steps by 4, green and blue by 8, as in SpatialBot's three-channel depth code"


def grows_downwards(depth: NDArray[np.floating[Any]]) -> str | None:
    """(H, W) values, NaN where unknown, clearly larger at the bottom than at the top. Cameras see the ground, which is
    nearest at the bottom, so this is how inverse depth looks: a hint only, ceilings and corridors do it too.

    None of the 48 measured frames we develop against passes 1.5; the inverse of nearly half of them does.
    """
    third = max(1, len(depth) // 3)
    top, bottom = depth[:third], depth[-third:]
    top, bottom = top[np.isfinite(top) & (top > 0)], bottom[np.isfinite(bottom) & (bottom > 0)]
    if not top.size or not bottom.size or float(np.median(bottom)) < 1.5 * float(np.median(top)):
        return None
    return "values are larger at the bottom than at the top, as inverse depth is"
