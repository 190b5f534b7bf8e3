"""What every bench result says besides its figures: the command, the machine, the versions, the day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.machine import hardware, now, versions

__all__ = ["document", "write_document"]


def document(name: str, options: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """Figures with what they were measured on. ``options`` are those given, as the command line spells them."""
    words = ["sdvlm", "bench", name]
    for key, value in options.items():
        words += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    return {
        "bench": name,
        "command": " ".join(words),
        "date": now(),
        "hardware": hardware(),
        "versions": versions(),
        **figures,
    }


def write_document(result: dict[str, Any], path: Path) -> None:
    """As indented JSON, whole or not at all."""
    with atomic_file(path) as stream:
        stream.write((json.dumps(result, indent=2) + "\n").encode())
