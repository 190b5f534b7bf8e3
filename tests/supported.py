"""The oldest and the newest version of a package that CI runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

__all__ = ["supported"]

_ROOT = Path(__file__).parents[1]


def supported(package: str) -> tuple[str, str]:
    """The lower bound in ``pyproject.toml`` and the pin in ``constraints.txt``."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (oldest,) = [found[1] for one in project["dependencies"] if (found := re.match(rf"{package}>=([\d.]+)", one))]
    pins = (_ROOT / "constraints.txt").read_text(encoding="utf-8")
    (newest,) = re.findall(rf"^{package}==([\d.]+)", pins, re.MULTILINE)
    return oldest, newest
