"""How sure a cell's figures are: over its seeds, and question by question against the cell without depth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdvlm.eval.paired import Asked, paired_difference

__all__ = ["SeedMean", "family_means", "over_seeds", "paired_over_seeds"]

_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t, 1 to 30 degrees of freedom"""


@dataclass(frozen=True)
class SeedMean:
    """Mean of a figure over seeds.

    Args:
        mean: of the seeds.
        values: one a seed.
        interval: 95 % t-interval of the mean; None with one seed, which says nothing of the others.
    """

    mean: float
    values: tuple[float, ...]
    interval: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "mean": self.mean,
            "seeds": list(self.values),
            "interval": None if self.interval is None else list(self.interval),
        }


def over_seeds(values: Sequence[float]) -> SeedMean:
    """Mean and t-interval (Student, 1908) of one figure a seed, at least one."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return SeedMean(mean, tuple(values), None)
    free = len(values) - 1
    half = (_T[free - 1] if free <= len(_T) else 1.96) * statistics.stdev(values) / math.sqrt(len(values))
    return SeedMean(mean, tuple(values), (mean - half, mean + half))


def family_means(asked: Sequence[Asked]) -> dict[str, float]:
    """Share of right answers of each family, 0..1."""
    families: dict[str, list[bool]] = {}
    for _, family, right in asked:
        families.setdefault(family, []).append(right)
    return {family: statistics.fmean(map(float, right)) for family, right in families.items()}


def paired_over_seeds(first: Sequence[Sequence[Asked]], second: Sequence[Sequence[Asked]]) -> dict[str, Any]:
    """First less second, question by question, seeds side by side; all seeds' answers about a picture stand together.

    Args:
        first, second: answers of one run a seed, the same seeds in the same order.

    Returns:
        ``macro`` and ``families``: difference in shares and its 95 % interval over pictures.
    """
    ours, theirs = ([one for run in runs for one in run] for runs in (first, second))
    return paired_difference(ours, theirs).to_dict()
