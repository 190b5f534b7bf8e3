"""The table of families of ``docs/families.md``, made from the tiny models: ``make families-table`` prints it."""

from __future__ import annotations

import numpy as np
from tests.models.zoo import BUILDABLE, ZOO
from tests.models.zoo.expected import DEEP, NEEDS, PACKED, PREFIX
from tests.supported import supported

from sdvlm.models.families import family_of
from sdvlm.models.grid import TokenGrid

__all__ = ["HEAD", "PROVEN", "row", "table"]

PROVEN = "Proven with transformers {} and {}, the oldest and the newest supported.".format(*supported("transformers"))
_SIZE = (100, 75)
HEAD = (
    "| `model_type` | views | patches a token | cells come from | nowhere | deep levels | questions | packed rows "
    "| needs |"
)


def row(name: str) -> str:
    """One family's."""
    tiny = ZOO[name]()
    config = tiny.model.config
    family, grid = family_of(config), TokenGrid(config, tiny.processor.image_processor)
    views = "tiles and thumbnail" if len(grid.views(_SIZE).transforms) > 1 else "one"
    nowhere = "newlines" if np.isnan(grid.boxes(_SIZE)).any() else ""
    deep = "by choice" if name in DEEP else ""
    packed = "yes" if name not in PACKED else PACKED[name].replace("_", " ")
    answered = PREFIX.get(name, "shared")
    facts = (views, str(family.merged(config)), f"`{family.source}`", nowhere, deep, answered, packed)
    return "| " + " | ".join((f"`{name}`", *facts, NEEDS.get(name, ""))) + " |"


def table() -> str:
    """A row for each family that can be built here, and the versions of transformers that CI proves them with."""
    lines = [HEAD, "|" + " --- |" * (HEAD.count("|") - 1), *map(row, sorted(BUILDABLE))]
    return "\n".join([*lines, "", PROVEN])
