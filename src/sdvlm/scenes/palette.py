"""Eleven nameable colours: prototypes, the name of any colour, and samples that stay nearest to their name.

Distances are Euclidean in CIE L*a*b* (D65), which follows what people call a colour better than RGB does. The names
are the eleven basic colour terms of English (Berlin and Kay, 1969).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COLORS",
    "FABRIC",
    "METAL",
    "PLASTIC",
    "WOOD",
    "Color",
    "color_distances",
    "color_names",
    "is_plainly",
    "pick_color",
    "shade",
    "srgb_to_lab",
    "srgb_to_linear",
]

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (185, 35, 40),
    "green": (55, 140, 65),
    "blue": (45, 85, 180),
    "yellow": (230, 200, 50),
    "orange": (230, 120, 35),
    "purple": (115, 55, 150),
    "pink": (235, 140, 175),
    "brown": (115, 75, 45),
    "black": (30, 30, 32),
    "white": (236, 236, 232),
    "gray": (132, 132, 132),
}
"""sRGB prototype of each colour name."""

WOOD = {
    "brown": 0.46,
    "white": 0.16,
    "black": 0.10,
    "gray": 0.10,
    "blue": 0.04,
    "green": 0.04,
    "red": 0.04,
    "yellow": 0.06,
}
FABRIC = {
    "gray": 0.14,
    "blue": 0.13,
    "red": 0.11,
    "green": 0.11,
    "brown": 0.10,
    "white": 0.09,
    "black": 0.08,
    "yellow": 0.06,
    "orange": 0.06,
    "purple": 0.06,
    "pink": 0.06,
}
METAL = {"gray": 0.36, "black": 0.26, "white": 0.20, "red": 0.06, "blue": 0.06, "green": 0.06}
PLASTIC = dict.fromkeys(COLORS, 1 / len(COLORS))

_NEUTRAL = ("black", "gray", "white")
_MARGIN = 0.75
"""A sample is kept if its own prototype is at most this fraction as far as the next one."""


class Color(NamedTuple):
    """A colour sample: the name it must go by and its sRGB value, 0..255."""

    name: str
    rgb: NDArray[np.float64]


def srgb_to_linear(rgb: ArrayLike) -> NDArray[np.float64]:
    """sRGB values 0..255 to linear light 0..1 (IEC 61966-2-1), any shape."""
    unit = np.asarray(rgb, dtype=np.float64) / 255.0
    return np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)


def srgb_to_lab(rgb: ArrayLike) -> NDArray[np.float64]:
    """sRGB (..., 3) 0..255 to CIE L*a*b* under D65 (IEC 61966-2-1): L 0..100, a, b."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = srgb_to_linear(rgb) @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


_NAMES = tuple(COLORS)
_PROTOTYPES = srgb_to_lab(np.array(list(COLORS.values())))


def color_distances(rgb: ArrayLike) -> NDArray[np.float64]:
    """(..., 11) distance of colours (..., 3) to every prototype."""
    return np.asarray(np.linalg.norm(srgb_to_lab(rgb)[..., None, :] - _PROTOTYPES, axis=-1))


def color_names(rgb: ArrayLike) -> list[str]:
    """Name of the nearest prototype for each sRGB colour of an (N, 3) array, 0..255."""
    return [_NAMES[index] for index in color_distances(np.atleast_2d(rgb)).argmin(axis=-1)]


def pick_color(rng: np.random.Generator, weights: Mapping[str, float], name: str | None = None) -> Color:
    """A colour drawn by name from ``weights`` (or the given ``name``), varied, still plainly of that name."""
    if name is None:
        share = np.array(list(weights.values()))
        name = str(rng.choice(list(weights), p=share / share.sum()))
    base = np.array(COLORS[name], dtype=np.float64)
    for _ in range(8):
        rgb = np.clip(base * rng.uniform(0.75, 1.2) + rng.normal(0, 2.5 if name in _NEUTRAL else 7.0, 3), 12, 245)
        if is_plainly(rgb, name):
            return Color(name, rgb)
    return Color(name, base)


def is_plainly(rgb: ArrayLike, name: str) -> bool:
    """Whether one sRGB colour lies clearly nearer to the named prototype than to any other."""
    distance, own = color_distances(rgb), _NAMES.index(name)
    return bool(distance[own] <= _MARGIN * np.delete(distance, own).min())


def shade(color: Color, factor: float) -> Color:
    """The same colour, darker; lighter or unchanged where darker would no longer be plainly of its name."""
    for tried in (factor, 2 - factor):
        rgb = np.clip(color.rgb * tried, 5, 250)
        if is_plainly(rgb, color.name):
            return Color(color.name, rgb)
    return color
