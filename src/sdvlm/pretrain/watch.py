"""Says in one line when a run goes wrong in a way its loss does not show: collapse, lost metric scale, no learning.

InfoNCE against a frozen RGB tower can reach perfect retrieval while depth's scale fades from the features
(fusion-methods 4.1 P1), so retrieval is never taken for success here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Watch", "WatchConfig", "fault_of_loss"]


@dataclass(frozen=True)
class WatchConfig:
    """When to warn."""

    rank_share: float = 0.25
    """collapse: the effective rank falls below this share of what it was at the start ..."""
    least_rank: float = 2.0
    """... or below this, having been above"""
    r2_share: float = 0.9
    """lost scale: the trunk's probe R2 falls below this share of what it was at the start ..."""
    least_r2: float = 0.5
    """... or, from this share of the run on, is below this"""
    judged_from: float = 0.3
    """share of the run after which a low R2 or retrieval at chance is worth a word"""
    above_chance: float = 3.0
    """retrieval that is not this many times chance by then has not learned to match"""


class Watch:
    """Compares each evaluation with the first.

    Args:
        start: figures of the first evaluation (step 0), as ``evaluate`` names them.
        config: thresholds.
    """

    def __init__(self, start: Mapping[str, float], config: WatchConfig | None = None) -> None:
        self.start = dict(start)
        self.config = config or WatchConfig()

    def faults(self, figures: Mapping[str, float], progress: float) -> dict[str, str]:
        """One line for each thing that is wrong now, by what kind of thing it is.

        Args:
            figures: of this evaluation.
            progress: share of the run that is done, 0..1.
        """
        checks = (self._not_finite, self._collapsed, self._lost_scale, self._learns_nothing)
        return {name: line for check in checks for name, line in check(figures, progress).items()}

    def _not_finite(self, figures: Mapping[str, float], _: float) -> dict[str, str]:
        bad = [name for name, value in figures.items() if not math.isfinite(value)]
        return {"not finite": f"not finite: {', '.join(bad)}; lower the learning rate"} if bad else {}

    def _collapsed(self, figures: Mapping[str, float], _: float) -> dict[str, str]:
        said = {}
        for part in ("trunk", "embedding"):
            name = f"effective_rank_{part}"
            now, first = figures.get(name, math.inf), self.start.get(name, 0.0)
            fell_low = now < self.config.least_rank <= first  # a few held-out pairs have no higher rank to begin with
            if fell_low or now < self.config.rank_share * first:
                said[f"collapse of the {part}"] = (
                    f"collapse: the effective rank of the {part} is {now:.1f}, it was {first:.1f} at the start; "
                    "lower the learning rate, or centre the RGB features"
                )
        return said

    def _lost_scale(self, figures: Mapping[str, float], progress: float) -> dict[str, str]:
        said = {}
        for name, what in (
            ("trunk_r2", "log depth"),
            ("trunk_scale_r2", "the scale of depth maps shrunk and stretched at random"),
        ):
            now, first = figures.get(name, math.inf), self.start.get(name, 0.0)
            fell = first > 0 and now < self.config.r2_share * first
            if fell or (progress >= self.config.judged_from and now < self.config.least_r2):
                said[f"lost scale ({name})"] = (
                    f"metric scale is being lost: a linear probe of the trunk tells {what} with R2 {now:.3f}, "
                    f"{first:.3f} at the start; raise reconstruction_weight, or lower the learning rates"
                )
        return said

    def _learns_nothing(self, figures: Mapping[str, float], progress: float) -> dict[str, str]:
        if "retrieval_chance" not in figures or progress < self.config.judged_from:
            return {}
        best = max(figures.get("depth_to_rgb_r1", 0.0), figures.get("rgb_to_depth_r1", 0.0))
        chance = figures["retrieval_chance"]
        if best >= min(self.config.above_chance * chance, (1 + chance) / 2):
            return {}
        line = f"retrieval is near chance: R@1 {best:.4f}, chance {chance:.4f}; train longer"
        return {"no retrieval": line}


def fault_of_loss(losses: Mapping[str, float], step: int) -> str | None:
    """One line if a loss is not a finite number, or none has any value; else None."""
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        said = ", ".join(f"{name} {losses[name]}" for name in bad)
        return f"step {step}: a loss is not finite ({said}); lower the learning rates, or use float32"
    if losses and all(value == 0 for value in losses.values()):
        return f"step {step}: every loss is zero, so nothing is learned; are the depth maps all unknown?"
    return None
