"""Timing things side by side: alternating, warmed up, with their spread."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["Timing", "alternate", "quartiles", "ratio"]


@dataclass(frozen=True)
class Timing:
    """Wall seconds of each repeat of one thing."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle repeat."""
        return statistics.median(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """Median and range, in seconds."""
        return {
            "median_s": _figures(self.median),
            "min_s": _figures(min(self.seconds)),
            "max_s": _figures(max(self.seconds)),
            "repeats": len(self.seconds),
        }


def alternate(
    tasks: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int = 1,
    often: Mapping[str, int] | None = None,
    shuffle: bool = False,
) -> dict[str, Timing]:
    """Time tasks in turns (a, b, a, b, ...), so that a machine that slows down slows all of them.

    Args:
        tasks: what to time, by name.
        repeats: timed turns, at least 1.
        warmup: turns before those, not timed.
        often: how many times in a row a short task is done each turn; its time is the mean.
        shuffle: another order each turn, the same in each run, where it matters to a task what ran just before it.
    """
    if repeats < 1:
        raise SdvlmError(f"a bench needs at least one repeat; got {repeats}")
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    rng = random.Random(0)
    for turn in range(-warmup, repeats):
        for name, task in rng.sample([*tasks.items()], len(tasks)) if shuffle else tasks.items():
            times = (often or {}).get(name, 1)
            started = time.perf_counter()
            for _ in range(times):
                task()
            if turn >= 0:
                seconds[name].append((time.perf_counter() - started) / times)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def ratio(over: Timing, under: Timing) -> dict[str, float]:
    """``over`` divided by ``under``, turn by turn: median and range."""
    ratios = [a / b for a, b in zip(over.seconds, under.seconds, strict=True)]
    return {"median": _figures(statistics.median(ratios)), "min": _figures(min(ratios)), "max": _figures(max(ratios))}


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and the bounds of the middle half; a single value is all three."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"median": _figures(median), "q1": _figures(low), "q3": _figures(high)}


def _figures(value: float) -> float:
    return float(f"{value:.4g}")
