"""What is fixed to a wall or to the plumbing: doors, windows, pictures, mirrors, bathroom ware."""

from __future__ import annotations

import numpy as np

from sdvlm.scenes.furniture.parts import Material, Model, ModelBuilder
from sdvlm.scenes.palette import PLASTIC, WOOD, Color, pick_color, shade

__all__ = ["bathtub", "door", "picture", "toilet", "whiteboard", "window"]


def door(rng: np.random.Generator, color: str | None = None) -> Model:
    """A door leaf with panels in its frame, closed."""
    main = pick_color(rng, WOOD, color)
    build = ModelBuilder("door", main, Material.WOOD)
    width, height = rng.uniform(0.75, 0.98), rng.uniform(1.95, 2.12)
    jamb = shade(main, 0.75)
    for x in (-1, 1):
        build.block((x * (width / 2 + 0.03), 0, 0), (0.06, 0.07, height), jamb)
    build.block((0, 0, height), (width + 0.12, 0.07, 0.06), jamb)
    build.block((0, 0.01, 0), (width, 0.04, height))
    for z in (0.12, 0.52):
        build.block((0, -0.012, z * height), (width * 0.68, 0.012, height * 0.34), shade(main, 0.9))
    build.block((width * 0.4, -0.03, height * 0.47), (0.12, 0.03, 0.025), pick_color(rng, {"gray": 1.0}))
    return build.build()


def _framed(build: ModelBuilder, width: float, height: float, bar: float, depth: float, color: Color) -> None:
    """Four bars around a field."""
    for x in (-1, 1):
        build.block((x * (width / 2 - bar / 2), 0, 0), (bar, depth, height), color)
    for z in (0.0, height - bar):
        build.block((0, 0, z), (width - 2 * bar, depth, bar), color)


def window(rng: np.random.Generator, color: str | None = None) -> Model:
    """A window with one to three panes in a frame; the sky is painted on its panes, which are its main colour."""
    main = (
        Color("blue", np.array([84.0, 138.0, 214.0]) + rng.normal(0, 6, 3))
        if color is None
        else pick_color(rng, PLASTIC, color)
    )
    build = ModelBuilder("window", main, Material.PLAIN)
    width, height, bar = rng.uniform(0.8, 2.0), rng.uniform(0.8, 1.35), 0.06
    frame = pick_color(rng, {"white": 0.7, "brown": 0.15, "gray": 0.15})
    _framed(build, width, height, bar, 0.05, frame)
    build.block((0, 0.005, bar), (width - 2 * bar, 0.02, height - 2 * bar))
    panes = max(1, round(width / 0.7))
    for index in range(1, panes):
        build.block((-width / 2 + width * index / panes, -0.01, bar), (0.04, 0.04, height - 2 * bar), frame)
    build.block((0, -0.035, -0.025), (width + 0.08, 0.12, 0.025), frame)
    return build.build()


def picture(rng: np.random.Generator, color: str | None = None) -> Model:
    """A framed picture: a field of one colour with a simple shape on it."""
    main = pick_color(rng, PLASTIC, color)
    build = ModelBuilder("picture", main, Material.PLAIN)
    width, height = rng.uniform(0.35, 1.1), rng.uniform(0.35, 0.85)
    _framed(build, width, height, 0.03, 0.03, pick_color(rng, {"black": 0.4, "brown": 0.3, "white": 0.3}))
    build.block((0, 0.003, 0.03), (width - 0.06, 0.024, height - 0.06))
    x, z = rng.uniform(-0.2, 0.2) * width, rng.uniform(0.2, 0.45) * height
    other = pick_color(rng, PLASTIC)
    build.block((x, -0.01, z), (width * 0.25, 0.003, height * 0.3), other, top=(width * 0.08, 0.003))
    return build.build()


def whiteboard(rng: np.random.Generator, color: str | None = None) -> Model:
    """A writing board with a tray."""
    main = pick_color(rng, {"white": 0.7, "green": 0.15, "black": 0.15}, color)
    build = ModelBuilder("whiteboard", main, Material.PLAIN)
    width, height, frame = rng.uniform(1.0, 2.2), rng.uniform(0.7, 1.1), pick_color(rng, {"gray": 1.0})
    _framed(build, width, height, 0.025, 0.03, frame)
    build.block((0, 0.003, 0.025), (width - 0.05, 0.024, height - 0.05))
    build.block((0, -0.04, 0), (width * 0.6, 0.06, 0.02), frame)
    return build.build()


def toilet(rng: np.random.Generator, color: str | None = None) -> Model:
    """A bowl, a seat and a tank."""
    main = pick_color(rng, {"white": 0.9, "pink": 0.05, "blue": 0.05}, color)
    build = ModelBuilder("toilet", main, Material.PLAIN)
    width, seat = rng.uniform(0.36, 0.42), rng.uniform(0.38, 0.44)
    build.block((0, 0.05, 0), (width * 0.55, 0.4, seat - 0.16), top=(width * 0.8, 0.46))
    build.ellipsoid((0, -0.05, seat - 0.1), (width / 2, 0.27, 0.1), sides=12, power=0.7)
    build.block((0, 0.28, 0), (width * 0.9, 0.16, seat + 0.34))
    build.block((0, 0.28, seat + 0.34), (width, 0.2, 0.03))
    return build.build()


def bathtub(rng: np.random.Generator, color: str | None = None) -> Model:
    """A tub: four walls around a lower floor."""
    main = pick_color(rng, {"white": 0.85, "pink": 0.05, "blue": 0.05, "green": 0.05}, color)
    build = ModelBuilder("bathtub", main, Material.PLAIN)
    length, width, height, rim = rng.uniform(1.5, 1.8), rng.uniform(0.7, 0.82), rng.uniform(0.5, 0.6), 0.07
    build.block((0, 0, 0), (length - 2 * rim, width - 2 * rim, 0.14))
    for x in (-1, 1):
        build.block((x * (length / 2 - rim / 2), 0, 0), (rim, width, height))
    for y in (-1, 1):
        build.block((0, y * (width / 2 - rim / 2), 0), (length - 2 * rim, rim, height))
    build.cylinder((length / 2 - rim / 2, 0, height), 0.018, 0.16, pick_color(rng, {"gray": 1.0}), sides=8)
    return build.build()
