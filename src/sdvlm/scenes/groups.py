"""Furniture that belongs together: a table and its chairs, a bed and its nightstands, a desk and its screen.

Each group takes the layout and a generator, places what fits, and leaves out what does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sdvlm.scenes.furniture import FURNITURE, Model
from sdvlm.scenes.layout import WALL, Layout, Placed

__all__ = ["GROUPS", "fixtures", "hang", "on_floor", "on_top", "on_wall_side"]

Rng = np.random.Generator


def _make(rng: Rng, kind: str, color: str | None = None) -> Model:
    return FURNITURE[kind](rng, color)


def on_wall_side(layout: Layout, rng: Rng, model: Model, tries: int = 16) -> Placed | None:
    """Stand a model with its back to some wall."""
    for _ in range(tries):
        wall = int(rng.integers(4))
        reach = (layout.wall_length(wall) - model.extent[0]) / 2
        if reach > 0:
            placed = layout.against_wall(model, wall, rng.uniform(-reach, reach), rng.uniform(0.01, 0.06))
            if placed is not None:
                return placed
    return None


def on_floor(layout: Layout, rng: Rng, model: Model, tries: int = 16, margin: float = 0.25) -> Placed | None:
    """Stand a model anywhere on the floor, turned anyhow."""
    for _ in range(tries):
        half = np.maximum(layout.size[:2] / 2 - margin, 0.1)
        x, y = rng.uniform(-half, half)
        placed = layout.put(model, (float(x), float(y), 0.0), rng.uniform(-math.pi, math.pi), gap=0.06)
        if placed is not None:
            return placed
    return None


def on_top(
    layout: Layout, rng: Rng, model: Model, carrier: Placed, facing: bool = False, tries: int = 10
) -> Placed | None:
    """Stand a model on a surface of another; ``facing`` turns it the way its carrier faces and sets it back."""
    for surface in carrier.model.surfaces:
        x0, y0, x1, y1 = surface.rect
        for _ in range(tries):
            yaw = rng.normal(0, 0.08) if facing else rng.uniform(-math.pi, math.pi)
            width, depth, _ = model.extent
            reach_x = abs(math.cos(yaw)) * width / 2 + abs(math.sin(yaw)) * depth / 2 + 0.01
            reach_y = abs(math.sin(yaw)) * width / 2 + abs(math.cos(yaw)) * depth / 2 + 0.01
            if x0 + reach_x > x1 - reach_x or y0 + reach_y > y1 - reach_y:
                continue
            x = rng.uniform(x0 + reach_x, x1 - reach_x)
            y = rng.uniform(max(y0 + reach_y, y1 - reach_y - 0.12) if facing else y0 + reach_y, y1 - reach_y)
            at = carrier.to_world(np.array([[x, y, surface.z]]))[0]
            placed = layout.put(model, (at[0], at[1], at[2]), carrier.yaw_rad + yaw, carrier.id)
            if placed is not None:
                return placed
    return None


def hang(layout: Layout, rng: Rng, model: Model, low: float, high: float, tries: int = 12) -> Placed | None:
    """Fix a model to a wall with its lower edge between two heights."""
    for _ in range(tries):
        wall = int(rng.integers(4))
        reach = (layout.wall_length(wall) - model.extent[0]) / 2 - 0.1
        z = rng.uniform(low, max(low, min(high, layout.size[2] - model.extent[2] - 0.1)))
        if reach > 0:
            placed = layout.against_wall(model, wall, rng.uniform(-reach, reach), 0.0, z, WALL)
            if placed is not None:
                return placed
    return None


def fixtures(layout: Layout, rng: Rng) -> None:
    """One or two doors and up to three windows, with space kept free in front of them."""
    for _ in range(int(rng.choice([1, 2], p=[0.75, 0.25]))):
        door = hang(layout, rng, _make(rng, "door"), 0.0, 0.0)
        if door is not None:
            layout.keep_clear(door, 0.85, 0.0, 2.2)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.1, 0.4, 0.35, 0.15]))):
        window = hang(layout, rng, _make(rng, "window"), 0.85, 1.1)
        if window is not None:
            layout.keep_clear(window, 0.6, float(window.position[2]) + 0.1, layout.size[2])


def _copies(rng: Rng, kind: str, count: int) -> list[Model]:
    """``count`` models: mostly the same one again, sometimes alike in colour only, sometimes all different."""
    first = _make(rng, kind)
    draw = rng.random()
    if draw < 0.65:
        return [first] * count
    color = first.color if draw < 0.8 else None
    return [first, *(_make(rng, kind, color) for _ in range(count - 1))]


def _dining(layout: Layout, rng: Rng) -> None:
    """A table in the room with two to six chairs that face it."""
    table = _in_the_middle(layout, rng, _make(rng, "table"), margin=1.1)
    if table is None:
        return
    width, depth, _ = table.model.extent
    long_seats = 2 if width > 1.35 else 1
    slots = [
        (x, side) for side in (0, 2) for x in (np.arange(long_seats) - (long_seats - 1) / 2) * min(0.75, width / 2)
    ]
    slots += [(0.0, 1), (0.0, 3)]
    rng.shuffle(slots)
    count = int(rng.integers(2, len(slots) + 1))
    kind = "chair" if rng.random() < 0.85 else "stool"
    for (offset, side), chair in zip(slots[:count], _copies(rng, kind, count), strict=True):
        turn = (0.0, math.pi / 2, math.pi, -math.pi / 2)[int(side)]
        reach = (depth if side in (0, 2) else width) / 2 + chair.extent[1] / 2 + rng.uniform(0.04, 0.25)
        local = np.array(
            [[-math.sin(turn) * reach + math.cos(turn) * offset, math.cos(turn) * reach + math.sin(turn) * offset, 0]]
        )
        x, y, _ = table.to_world(local)[0]
        layout.put(chair, (x, y, 0.0), table.yaw_rad + turn + rng.normal(0, 0.12))
    for kind in rng.choice(["vase", "book", "box"], size=int(rng.integers(0, 3)), replace=False):
        on_top(layout, rng, _make(rng, str(kind)), table)


def _in_the_middle(layout: Layout, rng: Rng, model: Model, margin: float) -> Placed | None:
    """Stand a model away from the walls, mostly parallel to them."""
    for _ in range(14):
        half = layout.size[:2] / 2 - margin
        if (half < 0).any():
            half = np.maximum(half, 0.05)
        x, y = rng.uniform(-half, half)
        yaw = float(rng.choice([0.0, math.pi / 2])) + (rng.normal(0, 0.3) if rng.random() < 0.25 else 0.0)
        placed = layout.put(model, (float(x), float(y), 0.0), yaw, gap=0.3)
        if placed is not None:
            return placed
    return None


def _work(layout: Layout, rng: Rng) -> None:
    """A desk at a wall with a screen or two, a lamp, books, and a chair before it."""
    desk = on_wall_side(layout, rng, _make(rng, "desk"))
    if desk is None:
        return
    chair = _make(rng, "office chair" if rng.random() < 0.75 else "chair")
    reach = desk.model.extent[1] / 2 + chair.extent[1] / 2 + rng.uniform(0.05, 0.3)
    x, y, _ = desk.to_world(np.array([[rng.uniform(-0.2, 0.2), -reach, 0.0]]))[0]
    layout.put(chair, (x, y, 0.0), desk.yaw_rad + math.pi + rng.normal(0, 0.3))
    for screen in _copies(rng, "monitor", int(rng.integers(1, 3))):
        on_top(layout, rng, screen, desk, facing=True)
    for kind, share in (("table lamp", 0.45), ("book", 0.5), ("vase", 0.15)):
        if rng.random() < share:
            on_top(layout, rng, _make(rng, kind), desk)


def _sleep(layout: Layout, rng: Rng) -> None:
    """A bed with its head to a wall, pillows, nightstands beside it with a lamp each."""
    bed = on_wall_side(layout, rng, _make(rng, "bed"))
    if bed is None:
        return
    for cushion in _copies(rng, "pillow", int(rng.integers(1, 3))):
        on_top(layout, rng, cushion, bed, facing=True)
    stands = _copies(rng, "nightstand", 2)
    for side, stand in zip((-1, 1), stands, strict=True):
        if rng.random() < 0.3:
            continue
        across = side * (bed.model.extent[0] / 2 + stand.extent[0] / 2 + rng.uniform(0.04, 0.15))
        back = bed.model.extent[1] / 2 - stand.extent[1] / 2 - 0.01
        x, y, _ = bed.to_world(np.array([[across, back, 0.0]]))[0]
        placed = layout.put(stand, (x, y, 0.0), bed.yaw_rad)
        if placed is not None and rng.random() < 0.6:
            on_top(layout, rng, _make(rng, "table lamp" if rng.random() < 0.75 else "book"), placed)


def _lounge(layout: Layout, rng: Rng) -> None:
    """A sofa with cushions and a low table before it, armchairs beside."""
    sofa = on_wall_side(layout, rng, _make(rng, "sofa"))
    if sofa is None:
        return
    for cushion in _copies(rng, "pillow", int(rng.integers(0, 3))):
        on_top(layout, rng, cushion, sofa)
    low = _make(rng, "coffee table")
    reach = sofa.model.extent[1] / 2 + low.extent[1] / 2 + rng.uniform(0.3, 0.55)
    x, y, _ = sofa.to_world(np.array([[rng.uniform(-0.2, 0.2), -reach, 0.0]]))[0]
    table = layout.put(low, (x, y, 0.0), sofa.yaw_rad)
    if table is not None:
        for kind in ("vase", "book"):
            if rng.random() < 0.4:
                on_top(layout, rng, _make(rng, kind), table)
    for seat in _copies(rng, "armchair", int(rng.integers(0, 3))):
        on_floor(layout, rng, seat, margin=0.6)


def _screen(layout: Layout, rng: Rng) -> None:
    """A television on its stand."""
    stand = on_wall_side(layout, rng, _make(rng, "tv stand"))
    if stand is not None:
        on_top(layout, rng, _make(rng, "tv"), stand, facing=True)


def _storage(layout: Layout, rng: Rng) -> None:
    """One case at a wall, mostly with something on it if it is low enough to see."""
    kind = str(rng.choice(["cabinet", "dresser", "bookshelf", "wardrobe", "nightstand", "refrigerator"]))
    case = on_wall_side(layout, rng, _make(rng, kind))
    if case is not None and case.model.extent[2] < 1.3:
        for small in rng.choice(["vase", "table lamp", "book", "box"], size=int(rng.integers(0, 3)), replace=False):
            on_top(layout, rng, _make(rng, str(small)), case)


def _bath(layout: Layout, rng: Rng) -> None:
    """A toilet and a tub."""
    for kind in ("bathtub", "toilet"):
        on_wall_side(layout, rng, _make(rng, kind))


def _seats(layout: Layout, rng: Rng) -> None:
    """A few seats of one kind standing about, or in a row along a wall."""
    kind = str(rng.choice(["chair", "stool", "office chair", "armchair"], p=[0.4, 0.25, 0.2, 0.15]))
    place: Callable[[Layout, Rng, Model], Placed | None] = on_wall_side if rng.random() < 0.5 else on_floor
    for seat in _copies(rng, kind, int(rng.integers(1, 5))):
        place(layout, rng, seat)


def _clutter(layout: Layout, rng: Rng) -> None:
    """One kind of small thing on the floor, one to three of it; boxes may be stacked."""
    kinds = ["trash can", "plant", "box", "floor lamp", "suitcase", "book"]
    kind = str(rng.choice(kinds, p=[0.24, 0.22, 0.2, 0.16, 0.12, 0.06]))
    for thing in _copies(rng, kind, int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        placed = on_floor(layout, rng, thing)
        if placed is not None and kind == "box" and rng.random() < 0.35:
            on_top(layout, rng, _make(rng, "box"), placed)


def _pictures(layout: Layout, rng: Rng) -> None:
    """Pictures on the walls, or a whiteboard."""
    if rng.random() < 0.2:
        hang(layout, rng, _make(rng, "whiteboard"), 0.9, 1.1)
        return
    for _ in range(int(rng.integers(1, 4))):
        hang(layout, rng, _make(rng, "picture"), 1.2, 1.6)


GROUPS: dict[str, Callable[[Layout, Rng], None]] = {
    "bath": _bath,
    "clutter": _clutter,
    "dining": _dining,
    "lounge": _lounge,
    "pictures": _pictures,
    "screen": _screen,
    "seats": _seats,
    "sleep": _sleep,
    "storage": _storage,
    "work": _work,
}
"""Groups by name."""
