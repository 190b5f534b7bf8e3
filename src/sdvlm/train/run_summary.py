"""What a run came to: how much it learned from, how fast, on what; as JSON and in a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = ["SUMMARY", "RunSummary", "read_summary", "write_summary"]

SUMMARY = "summary.json"


@dataclass(frozen=True)
class RunSummary:
    """A finished run. Counts are over all processes; of a run that was resumed, those of its last part.

    Args:
        steps: optimiser steps done.
        wall_seconds: from the first batch to the end, evaluations and saving included.
        timed_seconds: in which the rates were measured.
        images, dialogues, tokens, learned_tokens: that went through the model; padding is not counted.
        images_per_second, dialogues_per_second, tokens_per_second: of the timed steps.
        flops_per_second: model FLOPs (``train.flops``) a second, of one process.
        peak_flops: of its device, dense 16 bit; None: not known.
        utilisation: their ratio; None: not known.
        peak_memory_gib: of the process that took most.
        memory_of: "gpu" or "process" (resident set).
        loss_first, loss_last: as logged; None: nothing was.
        heldout: mean loss a learned token, by family and depth, at the end.
        parameters, trained_parameters: of the model.
        processes: that trained together.
        versions, hardware: what it ran on.
    """

    steps: int
    wall_seconds: float
    timed_seconds: float
    images: int
    dialogues: int
    tokens: int
    learned_tokens: int
    images_per_second: float
    dialogues_per_second: float
    tokens_per_second: float
    flops_per_second: float
    peak_flops: float | None
    utilisation: float | None
    peak_memory_gib: float
    memory_of: str
    loss_first: float | None
    loss_last: float | None
    heldout: dict[str, float] = field(default_factory=dict)
    parameters: int = 0
    trained_parameters: int = 0
    processes: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """One paragraph."""
        device = self.hardware.get("gpu") or self.hardware.get("cpu") or "this machine"
        many = f"{self.processes} x {device}" if self.processes > 1 else str(device)
        rate = f"{self.flops_per_second / 1e12:.3g} TFLOP/s"
        share = "" if self.utilisation is None else f" ({100 * self.utilisation:.0f} % of its peak)"
        lost = (
            ""
            if self.loss_first is None or self.loss_last is None
            else f" The loss went from {self.loss_first:.3f} to {self.loss_last:.3f}."
        )
        arms = {"with depth": "eval_loss", "without": "eval_without_depth_loss"}
        held = ", ".join(f"{self.heldout[key]:.3f} {arm}" for arm, key in arms.items() if key in self.heldout)
        return (
            f"{self.steps:,} steps in {_duration(self.wall_seconds)} on {many}: {self.dialogues:,} questions about "
            f"{self.images:,} pictures, {self.tokens:,} tokens. {self.dialogues_per_second:.3g} questions, "
            f"{self.images_per_second:.3g} pictures and {self.tokens_per_second:,.0f} tokens a second, {rate} of model "
            f"work a process{share}; {self.peak_memory_gib:.1f} GiB of {self.memory_of} memory at most. "
            f"{self.trained_parameters:,} of {self.parameters:,} parameters trained.{lost}"
            + (f" Held-out loss {held}." if held else "")
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with ``text``."""
        return asdict(self) | {"text": self.text}


def write_summary(out: Path, summary: Mapping[str, Any]) -> Path:
    """To ``OUT/summary.json``, whole or not at all."""
    path = out / SUMMARY
    with atomic_file(path) as stream:
        stream.write(json.dumps(dict(summary), indent=2, sort_keys=True).encode() + b"\n")
    return path


def read_summary(out: Path) -> RunSummary:
    """The summary of a finished run.

    Raises:
        SdvlmError: there is none, or it is damaged.
    """
    path = out / SUMMARY
    if not path.is_file():
        raise SdvlmError(f"{out}: holds no {SUMMARY}, so no run of sdvlm train ended there; run it again to finish it")
    try:
        values = json.loads(path.read_bytes())
        values.pop("text")
        return RunSummary(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SdvlmError(f"{path}: is damaged ({type(error).__name__}: {error}); run sdvlm train again") from error


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
