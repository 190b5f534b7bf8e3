"""Numbers that answers say, and what they mean: lengths in any unit and image coordinates.

An answer's number is told to training twice: as digits, one after another, and as a value, read off the states that are
about to say those digits (``ValuesHead``). The value teaches the model to bring the number to where it is said; the
digits alone teach that only once they are right, which takes many times longer. The value is told as a bin among many,
not as one number: a state that only holds a number along one direction is far from the sharp edges between digits.
A length is told in metres and as it is said in its unit: the one is what was measured, the other decides the digits.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdvlm.data.units import UNITS

__all__ = ["VALUES", "Said", "ValuesHead", "numbers_said"]

VALUES = {
    "log_length": (math.log(0.03), math.log(20.0), 72),
    "coordinate": (0.0, 1.0, 32),
    "log_said": (math.log(0.03), math.log(20_000.0), 144),
}
"""what a number may be, log of metres, image coordinate or log of a length in its unit: middle of its first and of its
last bin, and how many"""

_METRES = {name: float(unit.metres) for unit in UNITS.values() for name in (unit.symbol, unit.word)}
_NUMBER = re.compile(
    rf"(?P<digits>\d+(?:\.\d+)?)(?:\s?(?P<unit>{'|'.join(sorted(_METRES, key=len, reverse=True))})\b)?"
)


@dataclass(frozen=True)
class Said:
    """A number in a text.

    Args:
        start, stop: its characters, the unit left out.
        value: in the order of ``VALUES``, NaN for what it is not.
    """

    start: int
    stop: int
    value: tuple[float, ...]


def numbers_said(text: str) -> list[Said]:
    """Lengths (a unit stands behind them) and coordinates (decimals without a unit) of a text, in order."""
    found = []
    for match in _NUMBER.finditer(text):
        digits, unit = match["digits"], match["unit"]
        if unit is not None:
            metres = max(float(digits) * _METRES[unit], 0.01)
            value = (math.log(metres), math.nan, math.log(metres / _METRES[unit]))
        elif "." in digits:
            value = (math.nan, float(digits), math.nan)
        else:
            continue  # a count
        found.append(Said(match.start("digits"), match.end("digits"), value))
    return found


class ValuesHead(nn.Module):
    """Linear read-out of the number that a state is about to say, as a bin.

    Args:
        width: of the states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, sum(bins for _, _, bins in VALUES.values()))

    def losses(self, states: Tensor, said: Tensor) -> Tensor:
        """(K,) cross-entropy of every number that is known.

        Args:
            states: (M, D).
            said: (M, len(VALUES)), NaN where unknown.
        """
        logits = self.read(self.norm(states.float())).split([bins for _, _, bins in VALUES.values()], dim=-1)
        found = []
        for kind, (low, high, bins) in enumerate(VALUES.values()):
            known = ~said[:, kind].isnan()
            place = ((said[known, kind] - low) / (high - low) * (bins - 1)).clamp(0, bins - 1)
            share = nn.functional.relu(1 - (place[:, None] - torch.arange(bins, device=place.device)).abs())
            found.append(-(share * logits[kind][known].log_softmax(-1)).sum(-1))
        return torch.cat(found)
