"""What a run writes while it goes: ``metrics.jsonl``, one line an entry, and TensorBoard files where wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.extras import is_installed, require

__all__ = ["RunLog", "read_metrics"]


class RunLog:
    """Appends entries to ``OUT/metrics.jsonl`` and mirrors their numbers in ``OUT/tensorboard``.

    Args:
        out: folder of the run; made if needed.
        resumed_at: steps done by the checkpoint gone on from; entries after it are dropped, as they come again.
        tensorboard: None: where the package is installed.

    Raises:
        SdvlmError: TensorBoard is asked for and not installed; the message says what to type.
    """

    def __init__(self, out: Path, resumed_at: int = 0, tensorboard: bool | None = None) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "metrics.jsonl"
        kept = [one for one in read_metrics(out) if resumed_at and one["step"] <= resumed_at]
        with atomic_file(self.path) as stream:
            stream.writelines(json.dumps(one).encode() + b"\n" for one in kept)
        self._writer: Any = None
        if tensorboard or (tensorboard is None and is_installed("tensorboard")):
            require("tensorboard", "TensorBoard logging")
            writer = require("torch.utils.tensorboard", "TensorBoard logging").SummaryWriter
            self._writer = writer(str(out / "tensorboard"), purge_step=resumed_at or None)

    def write(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """Add one entry.

        Args:
            kind: "train", "eval", ...; the group the numbers stand in.
            step: optimiser steps done.
            figures: numbers by name; those that are not finite are written as null.
        """
        clean = {name: value if _finite(value) else None for name, value in figures.items()}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kind": kind, "step": step} | clean) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)
            self._writer.flush()

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """Entries of ``OUT/metrics.jsonl``; a line that an interruption cut short is left out."""
    entries = []
    path = out / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
    return entries
