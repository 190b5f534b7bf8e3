"""How long a newcomer waits: for the import, for ``--help``, for the first answer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdvlm.bench.random_llava import bench_frame
from sdvlm.bench.timing import alternate
from sdvlm.depth.io import write_depth
from sdvlm.nano import NANO_FOLDER
from sdvlm.types import SdvlmError

__all__ = ["bench_startup"]

HELP_LIMIT_S = 0.5


def bench_startup(repeats: int = 7, answers: int = 3) -> dict[str, Any]:
    """Time fresh processes in turns, beside an empty Python.

    Args:
        repeats: timed turns of import and ``--help``.
        answers: timed turns of ``ask`` and ``demo`` with the embedded model; left out at 0 and where its weights are
            not there.
    """
    quick = {
        "empty_python": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import sdvlm"],
        "help": [*_SDVLM, "--help"],
        "ask_help": [*_SDVLM, "ask", "--help"],
    }
    times = alternate({name: _process(command) for name, command in quick.items()}, repeats)
    figures: dict[str, Any] = {
        "help_s": times["help"].to_dict()["median_s"],
        "import_s": times["import"].to_dict()["median_s"],
        "help_below_limit": times["help"].median < HELP_LIMIT_S,
        "help_limit_s": HELP_LIMIT_S,
    }
    if answers and (NANO_FOLDER / "config.json").is_file():
        with tempfile.TemporaryDirectory() as folder:
            first = alternate(_first_answers(Path(folder)), answers)
        figures |= {f"{name}_s": timing.to_dict()["median_s"] for name, timing in first.items()}
        times |= first
    elif answers:
        figures["first_answer"] = "not measured: this installation has no nano weights"
    return figures | {"times": {name: timing.to_dict() for name, timing in times.items()}}


_SDVLM = [sys.executable, "-m", "sdvlm.cli.main"]


def _process(command: list[str]) -> Any:
    """A task that runs a command to its end."""

    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"})
        if done.returncode:
            raise SdvlmError(f"'{' '.join(command[1:])}' failed: {done.stderr.strip().splitlines()[-1:]}")

    return run


def _first_answers(folder: Path) -> dict[str, Any]:
    """``ask`` on a picture with depth, and the whole ``demo`` (what ``make demo`` runs once installed)."""
    frame = bench_frame(np.random.default_rng(0))
    picture, depth = folder / "picture.png", folder / "depth.png"
    Image.fromarray(frame.image).save(picture)
    assert frame.depth is not None
    write_depth(depth, frame.depth)
    ask = [*_SDVLM, "ask", str(picture), "How far is the chair from the camera?", "--depth", str(depth), "--fov", "65"]
    return {
        "ask_first_answer": _process([*ask, "--json"]),
        "demo_with_page": _process([*_SDVLM, "demo", "--out", str(folder / "demo"), "--json"]),
    }
