"""Results as JSON files, one a cell and seed: whole or not there, and only for the settings they were made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file

__all__ = ["CellStore", "read_json", "write_json"]


def read_json(path: Path) -> dict[str, Any] | None:
    """The document of a file; None where there is none or it is no JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Whole or not at all."""
    with atomic_file(path) as stream:
        stream.write((json.dumps(values, indent=1) + "\n").encode())


class CellStore:
    """The cells of one ablation.

    Args:
        folder: of the ablation.
        stamp: of its settings; a result with another stamp does not count.
    """

    def __init__(self, folder: Path, stamp: str) -> None:
        self.folder, self.stamp = folder / "cells", stamp

    def read(self, key: str) -> dict[str, Any] | None:
        """A result; None where it has to be made."""
        values = read_json(self.folder / f"{key}.json")
        return values if values is not None and values.get("stamp") == self.stamp else None

    def write(self, key: str, values: dict[str, Any]) -> None:
        """Keep a result."""
        write_json(self.folder / f"{key}.json", {"stamp": self.stamp} | values)
