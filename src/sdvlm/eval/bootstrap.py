"""Bootstrap intervals of shares and of means of shares.

Questions are resampled with replacement inside each family (Efron, 1979), so the number of questions a family has
stays. A resample of n questions of which k were right holds Binomial(n, k / n) right ones, so the counts are drawn, not
the questions. A family that was all right or all wrong has an interval of no width, as any bootstrap of it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "Resamples", "resample"]

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Resamples:
    """Right answers in each resample.

    Args:
        correct: (B, F) counts of B resamples and F families.
        counts: (F,) questions of each family.
    """

    correct: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def rates(self) -> NDArray[np.float64]:
        """(B, F) shares."""
        return self.correct / self.counts

    def family(self, index: int) -> Interval:
        """95 % interval of one family's share."""
        return _percentiles(self.rates[:, index])

    def mean(self, divisor: int | None = None) -> Interval:
        """95 % interval of the mean of the families' shares; ``divisor`` replaces their number."""
        return _percentiles(self.rates.sum(axis=1) / (divisor or len(self.counts)))

    def pooled(self) -> Interval:
        """95 % interval of the share over all questions."""
        return _percentiles(self.correct.sum(axis=1) / self.counts.sum())


def resample(correct: Sequence[int], counts: Sequence[int], resamples: int = 10_000, seed: int = 0) -> Resamples:
    """Draw resamples; the same seed gives the same intervals.

    Args:
        correct: right answers of each family.
        counts: questions of each family, all positive.
        resamples: number of resamples.
        seed: of the generator.
    """
    asked = np.asarray(counts, dtype=np.int64)
    rates = np.asarray(correct, dtype=np.float64) / asked
    drawn = np.random.default_rng(seed).binomial(asked, rates, size=(resamples, len(asked)))
    return Resamples(drawn.astype(np.int64), asked)


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
