"""Units that lengths may be said in, and how many digits of each are sensible.

Boxes are good to about a centimetre, so no unit shows much more than that: 1.84 m, 184 cm, 1840 mm, 6.04 ft, 72.4 in.
Typed answers stay in metres: the value that the text says, converted back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from sdvlm.types import SdvlmError

__all__ = ["UNITS", "Unit", "format_length", "unit_of"]


@dataclass(frozen=True)
class Unit:
    """A unit of length.

    Args:
        symbol: as written behind a number ("ft").
        word: as written in a sentence, plural ("feet").
        metres: metres in one, as a decimal number: exact.
        step: lengths are rounded to a multiple of this, in the unit itself.
    """

    symbol: str
    word: str
    metres: Decimal
    step: Decimal

    @property
    def rounding_m(self) -> float:
        """Half a step in metres: how far what is said may lie from the truth."""
        return float(self.step * self.metres) / 2

    @property
    def said(self) -> re.Pattern[str]:
        """A length as our texts say it: the number, a blank, and the unit by word or symbol (groups 1 and 2)."""
        return re.compile(rf"(\d+(?:\.\d+)?) ({self.word}|{self.symbol})(?![a-z])")


UNITS: Mapping[str, Unit] = {
    "m": Unit("m", "meters", Decimal(1), Decimal("0.01")),
    "cm": Unit("cm", "centimeters", Decimal("0.01"), Decimal(1)),
    "mm": Unit("mm", "millimeters", Decimal("0.001"), Decimal(10)),
    "ft": Unit("ft", "feet", Decimal("0.3048"), Decimal("0.01")),
    "in": Unit("in", "inches", Decimal("0.0254"), Decimal("0.1")),
}
"""By symbol. Foot and inch are the international ones (exact since 1959)."""


def unit_of(symbol: str) -> Unit:
    """The unit of that symbol.

    Raises:
        SdvlmError: there is none.
    """
    if symbol not in UNITS:
        raise SdvlmError(f"unknown unit {symbol!r}; lengths are said in {', '.join(UNITS)}")
    return UNITS[symbol]


def format_length(value_m: float, unit: str = "m") -> tuple[str, float]:
    """A length as it is said, and what that says.

    Args:
        value_m: metres, finite.
        unit: symbol.

    Returns:
        The number alone ("6.04"), and the metres it stands for (1.840992): what a typed answer holds.
    """
    if unit == "m":  # the common case, and the rounding the published answers use
        text = f"{value_m:.2f}"
        return text, float(text)
    said = unit_of(unit)
    steps = (Decimal(value_m) / said.metres / said.step).quantize(Decimal(1), ROUND_HALF_EVEN)
    number = steps * said.step
    return f"{number:f}", float(number * said.metres)
