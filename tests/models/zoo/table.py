"""The table of families of ``docs/families.md``, made from the tiny models: ``python -m tests.models.zoo.table``."""

from __future__ import annotations

import numpy as np
import transformers
from tests.models.zoo import ZOO
from tests.models.zoo.expected import DEEP, PACKED, PREFIX

from sdvlm.models.families import family_of
from sdvlm.models.grid import TokenGrid

__all__ = ["table"]

_SIZE = (100, 75)
_HEAD = "| `model_type` | views | patches a token | cells come from | nowhere | deep levels | questions | packed rows |"


def table() -> str:
    """One row a family, and the transformers version it was proven with."""
    lines = [_HEAD, "|" + " --- |" * (_HEAD.count("|") - 1)]
    for name in sorted(ZOO):
        tiny = ZOO[name]()
        config = tiny.model.config
        family, grid = family_of(config), TokenGrid(config, tiny.processor.image_processor)
        views = "tiles and thumbnail" if len(grid.views(_SIZE).transforms) > 1 else "one"
        nowhere = "newlines" if np.isnan(grid.boxes(_SIZE)).any() else ""
        deep = "by choice" if name in DEEP else ""
        packed = "yes" if name not in PACKED else PACKED[name].replace("_", " ")
        prefix = PREFIX.get(name, "shared")
        cells = (f"`{name}`", views, str(family.merged(config)), f"`{family.source}`", nowhere, deep, prefix, packed)
        lines.append("| " + " | ".join(cells) + " |")
    major, minor = transformers.__version__.split(".")[:2]
    return "\n".join([*lines, "", f"Proven with transformers {major}.{minor}."])


if __name__ == "__main__":
    print(table())
