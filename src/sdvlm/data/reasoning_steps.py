"""A derivation as text whose every step holds with the numbers it prints.

Numbers enter as they are printed; sums, products and roots of them are worked out from those printed values, and the
result is printed in turn. So "a * b / c = d" is right for a reader who only has the text. Where the rounding of the
steps adds up to another answer than the true one, :class:`StepsDisagreeError` is raised and the caller takes more
digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sdvlm.data.units import format_length, unit_of

__all__ = ["MAX_EXTRA", "Digits", "Expression", "Steps", "StepsDisagreeError", "root"]

MAX_EXTRA = 3
"""more digits than this are not tried"""
_SUM, _PRODUCT, _ATOM = range(3)


class StepsDisagreeError(ArithmeticError):
    """The printed steps lead to another number than the true one, at this many digits."""


@dataclass(frozen=True)
class Expression:
    """A formula as text and its value, worked out from the printed numbers. Built with + - * / ``**`` 2."""

    text: str
    value: float
    level: int = _ATOM

    def __add__(self, other: Expression) -> Expression:
        return Expression(f"{self} + {other._as(_PRODUCT)}", self.value + other.value, _SUM)

    def __sub__(self, other: Expression) -> Expression:
        return Expression(f"{self} - {other._as(_PRODUCT)}", self.value - other.value, _SUM)

    def __mul__(self, other: Expression) -> Expression:
        return Expression(f"{self._as(_PRODUCT)} * {other._as(_ATOM)}", self.value * other.value, _PRODUCT)

    def __truediv__(self, other: Expression) -> Expression:
        return Expression(f"{self._as(_PRODUCT)} / {other._as(_ATOM)}", self.value / other.value, _PRODUCT)

    def __pow__(self, power: int) -> Expression:
        return Expression(f"{self._as(_ATOM)}^{power}", self.value**power, _PRODUCT)

    def __str__(self) -> str:
        return self.text

    def _as(self, level: int) -> str:
        """In brackets where the place binds tighter, or where it would follow another sign."""
        return f"({self.text})" if self.level < level or self.text.startswith("-") else self.text


def root(inside: Expression) -> Expression:
    """The square root."""
    if inside.value < 0:
        raise StepsDisagreeError(f"the root of {inside.value}")
    return Expression(f"sqrt({inside.text})", math.sqrt(inside.value))


def _printed(value: float, decimals: int) -> Expression:
    text = f"{value:.{max(0, decimals)}f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return Expression(text, float(text))


@dataclass(frozen=True)
class Digits:
    """How numbers are printed.

    Args:
        unit: symbol of the unit of lengths.
        extra: digits beyond the fewest.
    """

    unit: str
    extra: int = 0

    def length(self, value_m: float) -> Expression:
        """A length on the way to an answer, given in metres."""
        unit = unit_of(self.unit)
        return self.length_said(value_m / float(unit.metres))

    def length_said(self, value: float) -> Expression:
        """A length on the way to an answer, given in the unit it is said in."""
        return _printed(value, -math.floor(math.log10(float(unit_of(self.unit).step))) + self.extra)

    def answer(self, value_m: float) -> Expression:
        """A length as an answer says it, given in metres."""
        text = format_length(value_m, self.unit)[0]
        return Expression(text, float(text))

    def pixels(self, value: float) -> Expression:
        """A place in the picture."""
        return _printed(value, self.extra)

    def figure(self, value: float) -> Expression:
        """Anything else, to four digits and more, but no finer than its operands make sense."""
        digits = 3 - math.floor(math.log10(abs(value))) if value else 0
        return _printed(value, min(1, digits) + self.extra)

    def share(self, value: float) -> Expression:
        """A coordinate over the picture's size."""
        return _printed(value, 2)


@dataclass
class Steps:
    """The sentences of a derivation, in order.

    Args:
        digits: how numbers are printed.
    """

    digits: Digits
    sentences: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """Symbol of the unit of lengths."""
        return self.digits.unit

    def say(self, sentence: str) -> None:
        """A sentence without its full stop."""
        self.sentences.append(f"{sentence[:1].upper()}{sentence[1:]}.")

    def work_out(self, what: str, formula: Expression, unit: str = "") -> Expression:
        """``what``: formula = result, as a figure; the result to go on with."""
        return self._equation(what, formula, self.digits.figure(formula.value), unit)

    def work_out_length(self, what: str, formula: Expression) -> Expression:
        """``what``: formula = result, as a length on the way."""
        return self._equation(what, formula, self.digits.length_said(formula.value), self.unit)

    def measure(self, what: str, formula: Expression, true_m: float) -> Expression:
        """``what``: formula = result, as a length that somebody may be told; it has to be the true one.

        Args:
            what: opens the sentence.
            formula: in the unit.
            true_m: metres.

        Raises:
            StepsDisagreeError: rounding on the way has spoilt it.
        """
        metres = formula.value * float(unit_of(self.unit).metres)
        result, truth = self.digits.answer(metres), self.digits.answer(true_m)
        if result.text != truth.text:
            raise StepsDisagreeError(f"{what}: {result} instead of {truth}")
        return self._equation(what, formula, result, self.unit)

    def measure_share(self, what: str, formula: Expression, true: float) -> Expression:
        """``what``: formula = result, as a coordinate over the picture's size."""
        result, truth = self.digits.share(formula.value), self.digits.share(true)
        if result.text != truth.text:
            raise StepsDisagreeError(f"{what}: {result} instead of {truth}")
        return self._equation(what, formula, result, "")

    def compare(self, what: str, smaller: Expression, larger: Expression) -> None:
        """``what``: smaller < larger.

        Raises:
            StepsDisagreeError: as printed, it is not.
        """
        if not smaller.value < larger.value:
            raise StepsDisagreeError(f"{what}: {smaller} < {larger}")
        self.say(f"{what}: {smaller} < {larger}")

    def text(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)

    def _equation(self, what: str, formula: Expression, result: Expression, unit: str) -> Expression:
        tail = f" {unit}" if unit else ""
        self.say(f"{what}: {formula} = {result}{tail}")
        return result
