"""Things to sit and lie on."""

from __future__ import annotations

import numpy as np

from sdvlm.scenes.furniture.parts import Material, Model, ModelBuilder
from sdvlm.scenes.palette import FABRIC, PLASTIC, WOOD, pick_color

__all__ = ["armchair", "bed", "chair", "office_chair", "pillow", "sofa", "stool"]


def chair(rng: np.random.Generator, color: str | None = None) -> Model:
    """A dining chair: seat, four legs, a slightly leaning back (closed or of slats)."""
    main = pick_color(rng, {**WOOD, **PLASTIC}, color)
    build = ModelBuilder("chair", main, Material.WOOD)
    width, depth = rng.uniform(0.38, 0.5), rng.uniform(0.4, 0.5)
    seat, back, thick = rng.uniform(0.42, 0.48), rng.uniform(0.36, 0.55), rng.uniform(0.04, 0.07)
    leg = rng.uniform(0.03, 0.05)
    build.legs(width / 2, depth / 2, seat - thick, leg)
    build.block((0, 0, seat - thick), (width, depth, thick))
    y, lean = depth / 2 - 0.02, (0.0, rng.uniform(0.0, 0.08))
    if rng.random() < 0.6:
        build.block((0, y, seat), (width, 0.04, back), lean=lean)
    else:
        for x in np.linspace(-width / 2 + 0.03, width / 2 - 0.03, int(rng.integers(3, 6))):
            build.block((float(x), y, seat), (0.045, 0.035, back), lean=lean)
        build.block((0, y + lean[1], seat + back), (width, 0.04, 0.08))
    return build.build()


def office_chair(rng: np.random.Generator, color: str | None = None) -> Model:
    """A swivel chair: five-star foot, column, upholstered seat and back, sometimes arms."""
    main = pick_color(rng, FABRIC, color)
    build = ModelBuilder("office chair", main, Material.FABRIC)
    dark = pick_color(rng, {"black": 1.0})
    seat, width, depth = rng.uniform(0.44, 0.54), rng.uniform(0.46, 0.54), rng.uniform(0.44, 0.52)
    foot = rng.uniform(0.26, 0.32)
    build.cylinder((0, 0, 0.05), foot, 0.03, dark, top_radius=0.05, sides=5)
    for angle in 2 * np.pi * np.arange(5) / 5:
        build.block((0.9 * foot * np.cos(angle), 0.9 * foot * np.sin(angle), 0), (0.05, 0.05, 0.06), dark)
    build.cylinder((0, 0, 0.08), 0.03, seat - 0.16, dark, sides=8)
    build.block((0, 0, seat - 0.09), (width * 0.9, depth * 0.9, 0.09), top=(width, depth))
    back = rng.uniform(0.45, 0.65)
    build.block((0, depth / 2 - 0.02, seat), (width * 0.3, 0.04, 0.1), dark, lean=(0, 0.02))
    build.block((0, depth / 2, seat + 0.08), (width * 0.95, 0.08, back), top=(width * 0.8, 0.06), lean=(0, 0.08))
    if rng.random() < 0.6:
        for x in (-1, 1):
            build.block((x * (width / 2 + 0.02), 0.02, seat - 0.06), (0.04, 0.05, 0.24), dark)
            build.block((x * (width / 2 + 0.02), 0.0, seat + 0.18), (0.06, 0.26, 0.03), dark)
    return build.build()


def stool(rng: np.random.Generator, color: str | None = None) -> Model:
    """A backless stool, round on a column or square on legs, of sitting or bar height."""
    main = pick_color(rng, PLASTIC, color)
    build = ModelBuilder("stool", main, Material.PLAIN)
    height, width = float(rng.choice([rng.uniform(0.42, 0.5), rng.uniform(0.62, 0.76)])), rng.uniform(0.3, 0.42)
    if rng.random() < 0.5:
        build.cylinder((0, 0, 0), width * 0.42, 0.03, sides=14)
        build.cylinder((0, 0, 0.03), 0.035, height - 0.11, sides=8)
        build.cylinder((0, 0, height - 0.08), width / 2, 0.08, sides=14)
    else:
        build.legs(width / 2, width / 2, height - 0.05, 0.035)
        build.block((0, 0, height - 0.05), (width, width, 0.05))
        build.block((0, 0, height * 0.35), (width - 0.05, width - 0.05, 0.025))
    return build.build()


def _upholstered(rng: np.random.Generator, category: str, width: float, color: str | None) -> Model:
    """Base, cushions, arms and back of a sofa of the given width in metres."""
    main = pick_color(rng, FABRIC, color)
    build = ModelBuilder(category, main, Material.FABRIC)
    depth, seat, back = rng.uniform(0.78, 0.98), rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.92)
    arm, rest = rng.uniform(0.12, 0.22), rng.uniform(0.16, 0.24)
    foot = rng.uniform(0.04, 0.1)
    dark = pick_color(rng, {"black": 0.5, "brown": 0.5})
    build.legs(width / 2 - 0.03, depth / 2 - 0.03, foot, 0.06, dark)
    build.block((0, 0, foot), (width, depth, seat - foot - 0.12))
    inner = width - 2 * arm
    count = max(1, round(inner / 0.7))
    front = depth - rest
    for index in range(count):
        x = -inner / 2 + inner * (index + 0.5) / count
        build.block((x, -rest / 2, seat - 0.12), (inner / count - 0.012, front, 0.12))
    build.block((0, depth / 2 - rest / 2, seat - 0.12), (inner, rest, back - seat + 0.12), top=(inner, rest * 0.8))
    arm_height = rng.uniform(0.5, 0.65) - seat + 0.12
    for x in (-1, 1):
        build.block((x * (width / 2 - arm / 2), 0, seat - 0.12), (arm, depth, arm_height))
    build.surface(seat, (-inner / 2, -depth / 2, inner / 2, depth / 2 - rest))
    return build.build()


def sofa(rng: np.random.Generator, color: str | None = None) -> Model:
    """A sofa for two to four."""
    return _upholstered(rng, "sofa", rng.uniform(1.45, 2.5), color)


def armchair(rng: np.random.Generator, color: str | None = None) -> Model:
    """A sofa for one."""
    return _upholstered(rng, "armchair", rng.uniform(0.78, 1.02), color)


def bed(rng: np.random.Generator, color: str | None = None) -> Model:
    """A frame, a mattress under a blanket, a pale strip of sheet, mostly a headboard."""
    main = pick_color(rng, FABRIC, color)
    build = ModelBuilder("bed", main, Material.FABRIC)
    width, length = float(rng.choice([0.9, 1.0, 1.4, 1.6, 1.8])) + rng.uniform(-0.03, 0.03), rng.uniform(1.95, 2.15)
    wooden = bool(rng.random() < 0.5)
    frame, top = rng.uniform(0.22, 0.34), rng.uniform(0.44, 0.62)
    wood = pick_color(rng, WOOD)
    sheet = pick_color(rng, {"white": 1.0})
    build.legs(width / 2 - 0.02, length / 2 - 0.02, frame - 0.14, 0.07, wood)
    build.block((0, 0, frame - 0.14), (width, length, 0.14), wood if wooden else None)
    build.block((0, -0.17, frame), (width - 0.02, length - 0.36, top - frame))
    build.block((0, length / 2 - 0.18, frame), (width - 0.03, 0.34, top - frame), sheet)
    head = 0.0
    if rng.random() < 0.75:
        head = 0.06
        build.block(
            (0, length / 2 + head / 2, 0),
            (width, head, top + rng.uniform(0.25, 0.55)),
            None if wooden else wood,
        )
    build.surface(top, (-width / 2 + 0.02, length / 2 - 0.45, width / 2 - 0.02, length / 2 - 0.01))
    return build.build()


def pillow(rng: np.random.Generator, color: str | None = None) -> Model:
    """A cushion lying flat."""
    main = pick_color(rng, PLASTIC, color)
    build = ModelBuilder("pillow", main, Material.FABRIC)
    width, depth, height = rng.uniform(0.35, 0.7), rng.uniform(0.3, 0.4), rng.uniform(0.1, 0.17)
    build.ellipsoid((0, 0, height / 2), (width / 2, depth / 2, height / 2), sides=12, power=0.45)
    return build.build()
