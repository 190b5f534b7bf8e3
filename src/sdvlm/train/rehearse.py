"""The dry run: what would train, one sample as the model reads it, and its picture with depth on the tokens' boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdvlm.train.config import TrainConfig
from sdvlm.train.example import Example
from sdvlm.train.overlay import draw_overlay
from sdvlm.train.preflight import Preflight, marked, preflight
from sdvlm.train.setup import Setup, set_up

__all__ = ["Rehearsal", "rehearse"]

_MOST = 64
"""examples looked through for one with depth"""


@dataclass(frozen=True)
class Rehearsal:
    """What ``sdvlm train --dry-run`` shows.

    Args:
        preflight: groups, a sample, problems.
        facts: rows and steps of the run, whether rows are packed and why not.
        overlay: picture that was written; None: no example has one.
    """

    preflight: Preflight
    facts: dict[str, Any]
    overlay: Path | None

    @property
    def text(self) -> str:
        """For a terminal."""
        lines = [*self.preflight.table(), "", *(f"{name}: {value}" for name, value in self.facts.items())]
        lines += ["", "one row, what is learned in [[ ]]:", marked(self.preflight.sample)]
        if self.overlay is not None:
            lines += ["", f"depth on the tokens' boxes: {self.overlay}"]
        return "\n".join(lines + [f"problem: {one}" for one in self.preflight.problems])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        overlay = None if self.overlay is None else str(self.overlay)
        return {**asdict(self.preflight), "facts": self.facts, "overlay": overlay}


def rehearse(config: TrainConfig, out: Path, say: Callable[[str], None], cache: Path | None = None) -> Rehearsal:
    """Do all that a run does before its first step, and write ``out/dry-run.png``.

    Raises:
        SdvlmError: as ``run.train``.
    """
    setup = set_up(config, out, say, cache)
    example = _shown(setup)
    batch = setup.encoder([example])
    found = preflight(setup.model, setup.groups, batch, setup.processor)
    rows = len(setup.train)
    steps = -(-rows // config.global_batch)
    facts = {
        "rows an epoch": rows,
        "steps an epoch": steps,
        "packed": "yes" if setup.unpacked is None else f"no: {setup.unpacked}",
        "held out": 0 if setup.heldout is None else len(setup.heldout),
        "sample": example.key,
    }
    return Rehearsal(found, facts, _overlay(setup, example, batch, out))


def _shown(setup: Setup) -> Example:
    """The first example with depth, else with a picture, else the first."""
    some = [setup.train[index] for index in range(min(_MOST, len(setup.train)))]
    with_depth = [one for one in some if any(depth is not None for depth in one.depth)]
    return (with_depth or [one for one in some if one.images] or some)[0]


def _overlay(setup: Setup, example: Example, batch: dict[str, Any], out: Path) -> Path | None:
    grid = batch.get("depth_grid")
    if not example.images or grid is None:
        return None
    image = example.images[0]
    tokens = setup.processor.grid if len(example.images) == 1 else setup.processor.grid.beside
    boxes = tokens.boxes((image.shape[1], image.shape[0]))
    out.mkdir(parents=True, exist_ok=True)
    path = out / "dry-run.png"
    draw_overlay(image, boxes, grid[: len(boxes)], path)
    return path
