"""The label table of ScanNet for the categories of procedural rooms, with NYU40 classes (Silberman et al. 2012)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sdvlm.depth.atomic import atomic_file

__all__ = ["NYU40", "nyu40_id", "write_label_table"]

NYU40 = (
    *(
        "unlabelled",
        "wall",
        "floor",
        "cabinet",
        "bed",
        "chair",
        "sofa",
        "table",
        "door",
        "window",
        "bookshelf",
        "picture",
    ),
    *(
        "counter",
        "blinds",
        "desk",
        "shelves",
        "curtain",
        "dresser",
        "pillow",
        "mirror",
        "floor mat",
        "clothes",
        "ceiling",
    ),
    *("books", "refridgerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person"),
    *("night stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop"),
)
"""Class names by NYU40 id (spelled as in the data set)."""

_CLASS_OF = {
    "armchair": "chair",
    "book": "books",
    "coffee table": "table",
    "monitor": "otherprop",
    "nightstand": "night stand",
    "office chair": "chair",
    "plant": "otherprop",
    "refrigerator": "refridgerator",
    "stool": "chair",
    "suitcase": "bag",
    "trash can": "otherprop",
    "tv": "television",
    "tv stand": "otherfurniture",
    "vase": "otherprop",
    "wardrobe": "otherfurniture",
}


def nyu40_id(category: str) -> int:
    """NYU40 id of a category; 40 (other prop) for what has no class of its own."""
    name = _CLASS_OF.get(category, category)
    return NYU40.index(name) if name in NYU40 else NYU40.index("otherprop")


def write_label_table(path: Path, categories: Iterable[str]) -> None:
    """Write ``scannetv2-labels.combined.tsv``: one row a category, ids in alphabetical order from 1."""
    columns = ("id", "raw_category", "category", "count", "nyu40id", "nyuClass", "nyu40class")
    rows = [columns]
    for number, name in enumerate(sorted(set(categories)), start=1):
        nyu = nyu40_id(name)
        rows.append((str(number), name, name, "1", str(nyu), NYU40[nyu], NYU40[nyu]))
    with atomic_file(path) as stream:
        stream.write("".join("\t".join(row) + "\n" for row in rows).encode())
