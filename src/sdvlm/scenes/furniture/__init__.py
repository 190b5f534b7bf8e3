"""The furniture shop: every class of thing a procedural room may hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sdvlm.scenes.furniture import fixtures, seating, small, storage
from sdvlm.scenes.furniture.parts import Material, Model, ModelBuilder, Surface

__all__ = ["CATEGORIES", "FURNITURE", "Material", "Model", "ModelBuilder", "Surface"]

FURNITURE: dict[str, Callable[[np.random.Generator, str | None], Model]] = {
    "armchair": seating.armchair,
    "bathtub": fixtures.bathtub,
    "bed": seating.bed,
    "book": small.book_stack,
    "bookshelf": storage.bookshelf,
    "box": small.box,
    "cabinet": storage.cabinet,
    "chair": seating.chair,
    "coffee table": storage.coffee_table,
    "desk": storage.desk,
    "door": fixtures.door,
    "dresser": storage.dresser,
    "floor lamp": small.floor_lamp,
    "monitor": small.monitor,
    "nightstand": storage.nightstand,
    "office chair": seating.office_chair,
    "picture": fixtures.picture,
    "pillow": seating.pillow,
    "plant": small.plant,
    "refrigerator": storage.refrigerator,
    "sofa": seating.sofa,
    "stool": seating.stool,
    "suitcase": small.suitcase,
    "table": storage.table,
    "table lamp": small.table_lamp,
    "toilet": fixtures.toilet,
    "trash can": small.trash_can,
    "tv": small.tv,
    "tv stand": storage.tv_stand,
    "vase": small.vase,
    "wardrobe": storage.wardrobe,
    "whiteboard": fixtures.whiteboard,
    "window": fixtures.window,
}
"""Builders by kind, called as ``build(rng, color name or None)``. Both kinds of lamp carry the category "lamp"."""

CATEGORIES: tuple[str, ...] = tuple(
    sorted({kind.replace("floor lamp", "lamp").replace("table lamp", "lamp") for kind in FURNITURE})
)
"""Every category an object of a room may have."""
