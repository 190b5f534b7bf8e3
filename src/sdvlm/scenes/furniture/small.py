"""Lamps, screens, and what else stands about."""

from __future__ import annotations

import numpy as np

from sdvlm.scenes.furniture.parts import Material, Model, ModelBuilder
from sdvlm.scenes.palette import FABRIC, METAL, PLASTIC, Color, pick_color, shade

__all__ = [
    "book_stack",
    "box",
    "floor_lamp",
    "monitor",
    "plant",
    "suitcase",
    "table_lamp",
    "trash_can",
    "tv",
    "vase",
]

_SCREEN = Color("black", np.array([18.0, 19.0, 22.0]))


def _lamp(rng: np.random.Generator, height: float, shade_radius: float, shade: float, color: str | None) -> Model:
    """A foot, a rod and a wide shade, which is the part that carries the lamp's colour."""
    main = pick_color(rng, {**PLASTIC, "white": 0.2, "yellow": 0.15}, color)
    build = ModelBuilder("lamp", main, Material.FABRIC)
    rod = pick_color(rng, {"black": 0.5, "gray": 0.5})
    foot = shade_radius * rng.uniform(0.6, 0.85)
    build.cylinder((0, 0, 0), foot, 0.025, rod, sides=14)
    build.cylinder((0, 0, 0.025), 0.014 + 0.006 * height, height - shade - 0.025, rod, sides=8)
    build.cylinder(
        (0, 0, height - shade), shade_radius, shade, top_radius=shade_radius * rng.uniform(0.55, 1.0), sides=14
    )
    return build.build()


def floor_lamp(rng: np.random.Generator, color: str | None = None) -> Model:
    """A lamp that stands on the floor."""
    return _lamp(rng, rng.uniform(1.35, 1.8), rng.uniform(0.18, 0.26), rng.uniform(0.25, 0.38), color)


def table_lamp(rng: np.random.Generator, color: str | None = None) -> Model:
    """A lamp that stands on a table."""
    return _lamp(rng, rng.uniform(0.35, 0.58), rng.uniform(0.12, 0.18), rng.uniform(0.16, 0.24), color)


def monitor(rng: np.random.Generator, color: str | None = None) -> Model:
    """A computer screen on a foot."""
    main = _SCREEN if color is None else pick_color(rng, PLASTIC, color)
    build = ModelBuilder("monitor", main, Material.PLAIN)
    width = rng.uniform(0.45, 0.72)
    height, lift = width * rng.uniform(0.56, 0.66), rng.uniform(0.08, 0.16)
    frame = pick_color(rng, {"black": 0.6, "gray": 0.4})
    build.block((0, 0.02, 0), (width * 0.4, 0.16, 0.015), frame)
    build.block((0, 0.05, 0.015), (0.05, 0.03, lift + height * 0.4), frame)
    build.block((0, 0.01, lift), (width, 0.03, height))
    return build.build()


def tv(rng: np.random.Generator, color: str | None = None) -> Model:
    """A television on two feet."""
    main = _SCREEN if color is None else pick_color(rng, PLASTIC, color)
    build = ModelBuilder("tv", main, Material.PLAIN)
    width = rng.uniform(0.85, 1.45)
    height = width * 0.57
    for x in (-1, 1):
        build.block((x * width * 0.35, 0, 0), (0.04, 0.22, 0.06))
    build.block((0, 0, 0.05), (width, 0.05, height))
    return build.build()


def trash_can(rng: np.random.Generator, color: str | None = None) -> Model:
    """A bin that widens upwards, round or square, with a dark mouth."""
    main = pick_color(rng, PLASTIC, color)
    build = ModelBuilder("trash can", main, Material.PLAIN)
    width, height = rng.uniform(0.22, 0.38), rng.uniform(0.28, 0.6)
    dark = Color("black", main.rgb * 0.3)
    if rng.random() < 0.5:
        build.cylinder((0, 0, 0), width * 0.4, height, top_radius=width / 2, sides=14)
        build.cylinder((0, 0, height), width * 0.42, 0.004, dark, sides=14)
    else:
        build.block((0, 0, 0), (width * 0.8, width * 0.65, height), top=(width, width * 0.8))
        build.block((0, 0, height), (width * 0.85, width * 0.65, 0.004), dark)
    return build.build()


def plant(rng: np.random.Generator, color: str | None = None) -> Model:
    """A pot with a crown of leaves made of a few rounded bodies."""
    main = pick_color(rng, {"green": 1.0}, color)
    build = ModelBuilder("plant", main, Material.FABRIC)
    height = rng.uniform(0.45, 1.5)
    pot, radius = min(0.35, height * 0.35), rng.uniform(0.1, 0.13) + 0.06 * height
    clay = pick_color(rng, {"brown": 0.4, "white": 0.25, "gray": 0.15, "orange": 0.1, "blue": 0.1})
    build.cylinder((0, 0, 0), radius * 0.7, pot, clay, top_radius=radius, sides=12)
    build.cylinder((0, 0, pot), 0.02, (height - pot) * 0.6, pick_color(rng, {"brown": 1.0}), sides=6)
    spread = radius * rng.uniform(1.1, 1.6)
    for index in range(int(rng.integers(4, 7))):
        angle, size = rng.uniform(0, 2 * np.pi), spread * rng.uniform(0.5, 0.75)
        z = pot + (height - pot) * rng.uniform(0.4, 0.75)
        center = (spread * 0.5 * np.cos(angle), spread * 0.5 * np.sin(angle), z)
        leaf = shade(main, 0.8 + 0.08 * index)
        build.ellipsoid(center, (size, size, (height - pot) * 0.25), leaf, sides=7)
    build.ellipsoid((0, 0, height - (height - pot) * 0.3), (spread * 0.6, spread * 0.6, (height - pot) * 0.3), sides=8)
    return build.build()


def vase(rng: np.random.Generator, color: str | None = None) -> Model:
    """A belly and a neck."""
    main = pick_color(rng, PLASTIC, color)
    build = ModelBuilder("vase", main, Material.PLAIN)
    height, belly = rng.uniform(0.2, 0.42), rng.uniform(0.06, 0.11)
    build.cylinder((0, 0, 0), belly * 0.6, height * 0.35, top_radius=belly, sides=12)
    build.cylinder((0, 0, height * 0.35), belly, height * 0.35, top_radius=belly * 0.45, sides=12)
    build.cylinder((0, 0, height * 0.7), belly * 0.45, height * 0.3, top_radius=belly * 0.65, sides=12)
    return build.build()


def box(rng: np.random.Generator, color: str | None = None) -> Model:
    """A carton with a strip of tape, or a coloured storage box with a lid."""
    carton = {"brown": 0.5, **{name: 0.06 for name in PLASTIC if name != "brown"}}
    main = pick_color(rng, carton, color)
    build = ModelBuilder("box", main, Material.PLAIN)
    width, depth, height = rng.uniform(0.28, 0.62), rng.uniform(0.25, 0.45), rng.uniform(0.2, 0.45)
    build.block((0, 0, 0), (width, depth, height))
    build.block((0, 0, height), (width, 0.05, 0.002), shade(main, 0.8))
    build.surface(height + 0.002, (-width / 2, -depth / 2, width / 2, depth / 2))
    return build.build()


def book_stack(rng: np.random.Generator, color: str | None = None) -> Model:
    """One to five books lying on each other, of one colour family so that the pile has a colour."""
    main = pick_color(rng, PLASTIC, color)
    build = ModelBuilder("book", main, Material.PLAIN)
    pages = pick_color(rng, {"white": 1.0})
    z = 0.0
    for _ in range(int(rng.integers(1, 6))):
        width, depth, thick = rng.uniform(0.2, 0.3), rng.uniform(0.15, 0.22), rng.uniform(0.025, 0.05)
        build.block((0.0, 0, z), (width, depth, 0.006))
        build.block((0.004, 0, z + 0.006), (width - 0.012, depth - 0.008, thick - 0.012), pages)
        build.block((0, 0, z + thick - 0.006), (width, depth, 0.006))
        z += thick
    return build.build()


def suitcase(rng: np.random.Generator, color: str | None = None) -> Model:
    """A standing suitcase with grooves, wheels and a handle."""
    main = pick_color(rng, {**FABRIC, **METAL}, color)
    build = ModelBuilder("suitcase", main, Material.PLAIN)
    width, depth, height = rng.uniform(0.36, 0.5), rng.uniform(0.2, 0.3), rng.uniform(0.5, 0.72)
    dark = pick_color(rng, {"black": 1.0})
    build.legs(width / 2 - 0.02, depth / 2 - 0.02, 0.05, 0.04, dark)
    build.block((0, 0, 0.05), (width, depth, height))
    for x in (-0.25, 0.0, 0.25):
        build.block((x * width, -depth / 2 - 0.004, 0.1), (0.05, 0.01, height - 0.1), shade(main, 0.8))
    for x in (-0.08, 0.08):
        build.block((x, depth * 0.3, 0.05 + height), (0.015, 0.015, 0.2), dark)
    build.block((0, depth * 0.3, 0.25 + height), (0.2, 0.03, 0.025), dark)
    return build.build()
