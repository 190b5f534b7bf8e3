"""ScanNet's label table: raw labels to categories and NYU40 classes (Silberman et al. 2012)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = ["LABEL_TABLE", "NYU40", "nyu40_id", "read_label_table", "write_label_table"]

LABEL_TABLE = "scannetv2-labels.combined.tsv"

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


def read_label_table(path: Path, column: str) -> dict[str, str]:
    """Raw label -> the value of a column ("category", "nyu40class"); raw labels whose cell is empty are left out.

    Raises:
        SdvlmError: not such a table.
    """
    try:
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SdvlmError(f"{path}: cannot be read as a table ({error})") from error
    head = lines[0] if lines else []
    if "raw_category" not in head or column not in head:
        raise SdvlmError(f"{path}: expected tab-separated columns 'raw_category' and '{column}'; got {head[:8]}")
    raw, wanted = head.index("raw_category"), head.index(column)
    rows = [line for line in lines[1:] if len(line) > max(raw, wanted)]
    return {line[raw].strip(): line[wanted].strip() for line in rows if line[wanted].strip()}
