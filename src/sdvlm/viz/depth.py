"""Depth as a picture: a colour for each distance, hatching where it is unknown, a scale with ticks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sdvlm.types import DepthKind, DepthMap, SdvlmError
from sdvlm.viz.palette import depth_ramp, hatching

__all__ = ["color_depth", "depth_figure", "depth_range", "scale_strip", "ticks"]

Picture = NDArray[np.uint8]

_UNIT = {DepthKind.METRIC: " m", DepthKind.RELATIVE: "", DepthKind.DISPARITY: ""}
_TITLE = {
    DepthKind.METRIC: "depth in metres",
    DepthKind.RELATIVE: "relative depth, no unit",
    DepthKind.DISPARITY: "disparity, no unit: larger is nearer",
}
_SPARSE, _POINTS = 0.4, 0.05  # shares of known pixels: below, a map is specks or single points that nobody would see
_PAPER, _INK = (24, 24, 27), (244, 244, 245)


def depth_range(depth: DepthMap) -> tuple[float, float]:
    """Smallest and largest value worth a colour: the 0.5 and 99.5 percentiles of what is known.

    Raises:
        SdvlmError: nothing is known.
    """
    known = depth.values[depth.valid]
    if known.size == 0:
        raise SdvlmError("no pixel of this depth map is known, so there is nothing to draw; check its scale and codec")
    low, high = np.percentile(known, [0.5, 99.5]).tolist()
    return low, high if high > low else low + max(abs(low) * 1e-3, 1e-3)


def color_depth(depth: DepthMap, low: float | None = None, high: float | None = None) -> Picture:
    """Near is light and yellow, far is dark and violet, whatever the kind of depth; unknown is hatched gray.

    Args:
        depth: (H, W) map.
        low, high: values at the ends of the colours, in the map's unit; :func:`depth_range` by default. What lies
            beyond an end takes the colour of that end.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    height, width = depth.values.shape
    picture = hatching(height, width, period=max(4, 2 * round(width / 80)))
    known = depth.valid
    if known.any():
        start, stop = depth_range(depth)
        start, stop = start if low is None else low, stop if high is None else high
        picture[known] = _colors(depth.values[known], start, stop, depth.kind)
    return picture


def _colors(values: NDArray[np.float32], low: float, high: float, kind: DepthKind) -> Picture:
    share = np.clip((values - low) / (high - low), 0, 1)
    if kind is DepthKind.DISPARITY:
        share = 1 - share
    return np.asarray(depth_ramp()[np.round(255 * share).astype(np.intp)])


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """At most ``count`` + 1 round numbers (steps of 1, 2 or 5 times a power of ten) in [low, high]."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def depth_figure(depth: DepthMap, width: int = 960) -> Picture:
    """The coloured map, enlarged, above a scale with ticks in metres (or without unit, as the map's kind says).

    Args:
        depth: (H, W) map with at least one known pixel.
        width: of the figure in pixels; the map keeps its aspect ratio.

    Returns:
        (height, width, 3) uint8 sRGB.

    Raises:
        SdvlmError: no pixel is known.
    """
    low, high = depth_range(depth)
    map_size = (width, max(1, round(width * depth.size[1] / depth.size[0])))
    shown = _thickened(depth) if depth.valid.mean() < _SPARSE else depth
    colored = Image.fromarray(color_depth(shown, low, high)).resize(map_size, Image.Resampling.NEAREST)
    unit = width / 48
    strip = scale_strip(depth, low, high, width, unit)
    figure = Image.new("RGB", (width, colored.height + strip.height), _PAPER)
    figure.paste(colored, (0, 0))
    figure.paste(strip, (0, colored.height))
    return np.asarray(figure)


def _thickened(depth: DepthMap) -> DepthMap:
    """Every known pixel grown to a disc; where discs meet, the nearer surface covers the farther."""
    radius = max(1, round(depth.size[0] / (200 if depth.valid.mean() < _POINTS else 700)))
    sign = -1.0 if depth.kind is DepthKind.DISPARITY else 1.0
    source = np.where(depth.valid, sign * depth.values, np.inf)
    padded = np.pad(source, radius, constant_values=np.inf)
    height, width = source.shape
    grown = source
    for down in range(2 * radius + 1):
        for right in range(2 * radius + 1):
            if (down - radius) ** 2 + (right - radius) ** 2 <= radius**2 + 1:
                grown = np.minimum(grown, padded[down : down + height, right : right + width])
    return replace(depth, values=np.where(np.isfinite(grown), sign * grown, np.nan).astype(np.float32))


def scale_strip(depth: DepthMap, low: float, high: float, width: int, unit: float) -> Image.Image:
    """The bar of colours with its ticks, the title, and how much is unknown."""
    strip = Image.new("RGB", (width, round(6.2 * unit)), _PAPER)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(size=1.5 * unit)
    left, right, top, bottom = round(1.5 * unit), width - round(1.5 * unit), round(2.5 * unit), round(3.5 * unit)
    across = np.linspace(low, high, right - left, dtype=np.float32)
    bar = np.broadcast_to(_colors(across, low, high, depth.kind), (bottom - top, right - left, 3))
    strip.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, top))
    draw.text((left, 0.35 * unit), _TITLE[depth.kind], fill=_INK, font=font)
    unknown = 1 - float(depth.valid.mean())
    if unknown > 0:
        percent = "< 1" if unknown < 0.005 else "> 99" if unknown > 0.995 else f"{100 * unknown:.0f}"
        note = f"unknown {percent} %"
        at = right - draw.textlength(note, font=font)
        draw.text((at, 0.35 * unit), note, fill=_INK, font=font)
        patch = Image.fromarray(hatching(round(unit), round(1.6 * unit), period=max(4, round(unit / 2))))
        strip.paste(patch, (round(at - 2.1 * unit), round(0.75 * unit)))
    for value in ticks(low, high):
        x = left + (value - low) / (high - low) * (right - left - 1)
        draw.line([(x, bottom), (x, bottom + 0.35 * unit)], fill=_INK, width=max(1, round(unit / 10)))
        draw.text((x, bottom + 0.4 * unit), f"{value:g}{_UNIT[depth.kind]}", fill=_INK, font=font, anchor="ma")
    return strip
