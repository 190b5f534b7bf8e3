"""Which column of a table holds the pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sdvlm.extras import require
from sdvlm.types import SdvlmError

__all__ = ["Columns", "find_columns"]

_USUAL = ("image", "img", "rgb", "picture", "photo", "jpg", "jpeg", "png", "webp", "pixel_values")
"""names that decide between several columns of pictures, the first of them"""


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are read."""

    image: str
    depth: str | None
    scene: str | None

    @property
    def names(self) -> list[str]:
        """Those there are, each once."""
        return list(dict.fromkeys(name for name in (self.image, self.depth, self.scene) if name is not None))


def find_columns(schema: Any, shown: str, image: str | None, depth: str | None, scene: str | None) -> Columns:
    """The columns the user named, and the picture's where it was not named.

    A column holds pictures if ``datasets`` says so in the file's metadata, else if it is a struct with ``bytes`` or is
    binary. One that is named as depth or scene is no candidate. Depth and scene are never guessed.

    Args:
        schema: a ``pyarrow.Schema``.
        shown: what messages call the file.
        image: the picture's column; None: found.
        depth: the depth's column.
        scene: the scene name's column.

    Raises:
        SdvlmError: a named column is not there, or none or several could hold the picture.
    """
    for name in (image, depth, scene):
        if name is not None and name not in schema.names:
            raise SdvlmError(f"{shown}: has no column '{name}'; it has {', '.join(schema.names)}")
    if image is not None:
        return Columns(image, depth, scene)
    found = [name for name in _candidates(schema) if name not in (depth, scene)]
    usual = [name for name in _USUAL if name in (one.lower() for one in found)]
    if usual:
        found = [name for name in found if name.lower() == usual[0]]
    if len(found) != 1:
        seen = (
            f"columns {', '.join(found)} could" if found else f"none of the columns {', '.join(schema.names)} seems to"
        )
        raise SdvlmError(f"{shown}: {seen} hold the picture; name it (--column)")
    return Columns(found[0], depth, scene)


def _candidates(schema: Any) -> list[str]:
    types = require("pyarrow", "reading tables").types
    said = _features(schema)
    if said:
        return said

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(one.name == "bytes" and holds_bytes(one.type) for one in kind)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    return [field.name for field in schema if holds_bytes(field.type)]


def _features(schema: Any) -> list[str]:
    """Columns that ``datasets`` declares to be pictures; none where the file does not say."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return [name for name, one in features.items() if one.get("_type") == "Image" and name in schema.names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
