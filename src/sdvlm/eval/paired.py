"""Two runs on the same questions: by how much one is better, with an interval that knows they were the same.

Questions about one picture stand and fall together, so pictures are resampled, not questions; both runs are scored on
each resample (the paired bootstrap; Efron and Tibshirani, 1993, chapter 8). An interval above zero says that the first
run is better on pictures like these, where the intervals of the two runs alone would overlap.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import SdvlmError

__all__ = ["Asked", "PairedDifference", "paired_difference"]

Asked = tuple[Hashable, str, bool]
"""picture, family, whether the answer was right"""


@dataclass(frozen=True)
class PairedDifference:
    """First run less second, in shares.

    Args:
        mean: of the families' differences, each family counting the same.
        interval: 95 % interval of ``mean``.
        families: difference of each family and its interval.
    """

    mean: float
    interval: tuple[float, float]
    families: dict[str, tuple[float, tuple[float, float]]]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        families = {
            name: {"rate": mean, "interval": list(interval)} for name, (mean, interval) in self.families.items()
        }
        return {"macro": {"rate": self.mean, "interval": list(self.interval)}, "families": families}


def paired_difference(
    first: Sequence[Asked], second: Sequence[Asked], resamples: int = 4_000, seed: int = 0
) -> PairedDifference:
    """Compare two runs.

    Args:
        first, second: the same questions in the same order.
        resamples: of the pictures.
        seed: of the generator; the same seed gives the same interval.

    Raises:
        SdvlmError: there is nothing to compare, or the questions differ.
    """
    if not first or [one[:2] for one in first] != [one[:2] for one in second]:
        raise SdvlmError("a paired comparison needs two runs on the same questions, in the same order, at least one")
    pictures = {picture: index for index, picture in enumerate(dict.fromkeys(one[0] for one in first))}
    families = {family: index for index, family in enumerate(dict.fromkeys(one[1] for one in first))}
    asked = np.zeros((len(pictures), len(families)))
    better = np.zeros_like(asked)
    for (picture, family, one), (_, _, other) in zip(first, second, strict=True):
        place = pictures[picture], families[family]
        asked[place] += 1
        better[place] += int(one) - int(other)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(pictures), np.full(len(pictures), 1 / len(pictures)), size=resamples)  # [B, P]
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (times @ better) / (times @ asked)  # [B, F], NaN where a family was not drawn
    rates = better.sum(axis=0) / asked.sum(axis=0)
    found = {name: (float(rates[index]), _interval(drawn[:, index])) for name, index in families.items()}
    return PairedDifference(float(rates.mean()), _interval(np.nanmean(drawn, axis=1)), found)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
