"""Tables, and things to keep things in."""

from __future__ import annotations

import numpy as np

from sdvlm.scenes.furniture.parts import Material, Model, ModelBuilder
from sdvlm.scenes.palette import METAL, PLASTIC, WOOD, pick_color, shade

__all__ = [
    "bookshelf",
    "cabinet",
    "coffee_table",
    "desk",
    "dresser",
    "nightstand",
    "refrigerator",
    "table",
    "tv_stand",
    "wardrobe",
]


def _legged(
    rng: np.random.Generator,
    category: str,
    size: tuple[float, float, float],
    color: str | None,
    round_top: bool = False,
) -> Model:
    """A top on four legs, or a round one on a column."""
    main = pick_color(rng, WOOD, color)
    build = ModelBuilder(category, main, Material.WOOD)
    width, depth, height = size
    thick = rng.uniform(0.025, 0.05)
    if round_top:
        radius = depth / 2
        build.cylinder((0, 0, 0), radius * 0.5, 0.03, sides=16)
        build.cylinder((0, 0, 0.03), 0.05, height - thick - 0.03, sides=10)
        build.cylinder((0, 0, height - thick), radius, thick, sides=20)
        half = radius * 0.65
        build.surface(height, (-half, -half, half, half))
        return build.build()
    metal = pick_color(rng, METAL) if rng.random() < 0.3 else None
    build.legs(width / 2 - 0.02, depth / 2 - 0.02, height - thick, rng.uniform(0.04, 0.08), metal)
    build.block((0, 0, height - thick - 0.07), (width - 0.12, depth - 0.12, 0.07))
    build.block((0, 0, height - thick), (width, depth, thick))
    build.surface(height, (-width / 2, -depth / 2, width / 2, depth / 2))
    return build.build()


def table(rng: np.random.Generator, color: str | None = None) -> Model:
    """A dining table, rectangular or round."""
    size = (rng.uniform(0.9, 2.0), rng.uniform(0.75, 1.05), rng.uniform(0.7, 0.78))
    return _legged(rng, "table", size, color, round_top=bool(rng.random() < 0.3))


def coffee_table(rng: np.random.Generator, color: str | None = None) -> Model:
    """A low table."""
    size = (rng.uniform(0.7, 1.3), rng.uniform(0.5, 0.75), rng.uniform(0.36, 0.5))
    return _legged(rng, "coffee table", size, color, round_top=bool(rng.random() < 0.25))


def desk(rng: np.random.Generator, color: str | None = None) -> Model:
    """A desk: top, a pedestal of drawers on one side, a panel on the other, a modesty panel behind."""
    main = pick_color(rng, WOOD, color)
    build = ModelBuilder("desk", main, Material.WOOD)
    width, depth, height = rng.uniform(1.0, 1.8), rng.uniform(0.55, 0.8), rng.uniform(0.7, 0.77)
    thick, pedestal = 0.035, rng.uniform(0.32, 0.42)
    side = float(rng.choice([-1, 1]))
    x = side * (width / 2 - pedestal / 2 - 0.01)
    build.block((x, 0, 0), (pedestal, depth - 0.06, height - thick))
    for index in range(3):
        z = 0.06 + index * (height - 0.14) / 3
        front = (x, -depth / 2 + 0.026, z)
        build.block(front, (pedestal - 0.03, 0.012, (height - 0.14) / 3 - 0.02), shade(main, 0.82))
    build.block((-side * (width / 2 - 0.03), 0, 0), (0.04, depth - 0.06, height - thick))
    build.block((0, depth / 2 - 0.08, height * 0.35), (width - 0.1, 0.02, height * 0.65 - thick))
    build.block((0, 0, height - thick), (width, depth, thick))
    build.surface(height, (-width / 2, -depth / 2, width / 2, depth / 2))
    return build.build()


def _case(
    rng: np.random.Generator,
    category: str,
    size: tuple[float, float, float],
    grid: tuple[int, int],
    color: str | None,
    palette: dict[str, float] | None = None,
) -> Model:
    """A closed case on a plinth whose front is a grid (columns, rows) of doors or drawers with handles."""
    main = pick_color(rng, palette or WOOD, color)
    material = Material.WOOD if palette is None else Material.PLAIN
    build = ModelBuilder(category, main, material)
    width, depth, height = size
    plinth = 0.06
    build.block((0, 0.02, 0), (width - 0.04, depth - 0.06, plinth), shade(main, 0.6))
    build.block((0, 0.01, plinth), (width, depth - 0.02, height - plinth))
    columns, rows = grid
    cell_x, cell_z = (width - 0.02) / columns, (height - plinth - 0.02) / rows
    front, handle = shade(main, 0.86), pick_color(rng, {"gray": 0.6, "black": 0.4})
    for column in range(columns):
        x = -width / 2 + 0.01 + cell_x * (column + 0.5)
        for row in range(rows):
            z = plinth + 0.01 + row * cell_z
            build.block((x, -depth / 2 + 0.012, z + 0.008), (cell_x - 0.016, 0.016, cell_z - 0.016), front)
            if cell_z > cell_x:
                edge = x + (cell_x / 2 - 0.06) * (1 if column % 2 == 0 else -1)
                build.block((edge, -depth / 2 + 0.002, z + cell_z * 0.45), (0.02, 0.012, 0.14), handle)
            else:
                build.block((x, -depth / 2 + 0.002, z + cell_z * 0.6), (min(0.16, cell_x / 2), 0.012, 0.02), handle)
    build.surface(height, (-width / 2, -depth / 2 + 0.02, width / 2, depth / 2))
    return build.build()


def nightstand(rng: np.random.Generator, color: str | None = None) -> Model:
    """A bedside case with one to three drawers."""
    size = (rng.uniform(0.38, 0.58), rng.uniform(0.34, 0.46), rng.uniform(0.42, 0.65))
    return _case(rng, "nightstand", size, (1, int(rng.integers(1, 4))), color)


def cabinet(rng: np.random.Generator, color: str | None = None) -> Model:
    """A waist-high cabinet with doors."""
    size = (rng.uniform(0.6, 1.4), rng.uniform(0.36, 0.5), rng.uniform(0.75, 1.25))
    return _case(rng, "cabinet", size, (max(1, round(size[0] / 0.45)), 1), color)


def dresser(rng: np.random.Generator, color: str | None = None) -> Model:
    """A chest of drawers."""
    size = (rng.uniform(0.8, 1.5), rng.uniform(0.42, 0.52), rng.uniform(0.72, 1.1))
    return _case(rng, "dresser", size, (2, int(rng.integers(3, 5))), color)


def wardrobe(rng: np.random.Generator, color: str | None = None) -> Model:
    """A tall closet with doors."""
    size = (rng.uniform(0.8, 1.9), rng.uniform(0.52, 0.65), rng.uniform(1.75, 2.2))
    return _case(rng, "wardrobe", size, (max(2, round(size[0] / 0.5)), 1), color)


def tv_stand(rng: np.random.Generator, color: str | None = None) -> Model:
    """A long low case for a television."""
    size = (rng.uniform(1.1, 1.9), rng.uniform(0.36, 0.46), rng.uniform(0.4, 0.58))
    return _case(rng, "tv stand", size, (int(rng.integers(2, 4)), 1), color)


def refrigerator(rng: np.random.Generator, color: str | None = None) -> Model:
    """A refrigerator with one or two doors over each other."""
    size = (rng.uniform(0.55, 0.8), rng.uniform(0.58, 0.72), rng.uniform(1.35, 1.95))
    palette = {**METAL, "white": 0.5}
    return _case(rng, "refrigerator", size, (1, int(rng.integers(1, 3))), color, palette)


def bookshelf(rng: np.random.Generator, color: str | None = None) -> Model:
    """An open shelf with a back and rows of books."""
    main = pick_color(rng, WOOD, color)
    build = ModelBuilder("bookshelf", main, Material.WOOD)
    width, depth, height = rng.uniform(0.6, 1.3), rng.uniform(0.26, 0.36), rng.uniform(1.1, 2.1)
    board, shelves = 0.03, max(3, round(height / 0.38))
    for x in (-1, 1):
        build.block((x * (width / 2 - board / 2), 0, 0), (board, depth, height))
    build.block((0, depth / 2 - 0.01, 0), (width - 2 * board, 0.02, height))
    pitch = (height - board) / shelves
    for index in range(shelves + 1):
        build.block((0, -0.01, index * pitch), (width - 2 * board, depth - 0.02, board))
    for index in range(shelves):
        if rng.random() < 0.35:
            continue
        span, count = rng.uniform(0.25, 0.6) * width, int(rng.integers(2, 5))
        left = rng.uniform(-width / 2 + board, width / 2 - board - span)
        for book in range(count):
            tall = (pitch - board) * rng.uniform(0.55, 0.85)
            at = (left + span * (book + 0.5) / count, 0.03, index * pitch + board)
            build.block(at, (span / count, depth * 0.6, tall), pick_color(rng, PLASTIC))
    build.surface(height, (-width / 2, -depth / 2, width / 2, depth / 2))
    return build.build()
