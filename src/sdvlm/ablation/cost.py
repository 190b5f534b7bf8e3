"""What a step of each cell costs, beside one without depth: all cells take steps in turns, on the same pictures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdvlm.ablation.cells import CELLS, Cell
from sdvlm.ablation.materials import Materials
from sdvlm.ablation.run_cell import fresh_learner

__all__ = ["cost_group", "measure_cost"]


def cost_group(cell: Cell) -> str:
    """Cells that differ in what depth they are given, or in weights, cost the same."""
    return CELLS[0].name if cell.fusion is None else cell.fusion


def measure_cost(materials: Materials, cells: list[Cell], encoders: Mapping[int, Path], turns: int) -> dict[str, Any]:
    """Processor seconds of a training step by group, and its ratio to that of ``none``, turn by turn.

    Processor time, not wall time: other work on the machine slows a step down but is not the cell's.

    Args:
        materials: of the ablation.
        cells: those to measure; one of each group is.
        encoders: folders of pre-trained encoders by percent of the pairs.
        turns: steps of each that count; one more is taken before.
    """
    groups = {cost_group(cell): cell for cell in reversed([CELLS[0], *cells])}
    learners = {
        name: fresh_learner(materials, cell, 0, None if cell.pairs is None else encoders.get(cell.pairs))
        for name, cell in groups.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for turn in range(turns + 1):
        for name, learner in learners.items():
            started = time.process_time()
            learner.step(turn)
            if turn:
                seconds[name].append(time.process_time() - started)
    plain = seconds[CELLS[0].name]
    return {
        name: {
            "seconds_per_step": statistics.median(taken),
            "ratio": statistics.median(a / b for a, b in zip(taken, plain, strict=True)),
        }
        for name, taken in seconds.items()
    }
