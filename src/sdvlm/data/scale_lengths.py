"""Lengths in text, multiplied: the same sentence about a world that is so much larger.

Only what is certainly a length is touched. A text with a length that cannot be multiplied in place (an area, a number
in words, feet and inches as ``5'10"``, too few decimals for the new value) is given up as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sdvlm.data.units import UNITS

__all__ = ["ScaledText", "scale_lengths"]

_METRES: Mapping[str, Decimal] = {
    **{symbol: unit.metres for symbol, unit in UNITS.items()},
    "km": Decimal(1000),
    "dm": Decimal("0.1"),
    "yd": Decimal("0.9144"),
    "mi": Decimal("1609.344"),
}
_WORDS = {
    "meter": "m", "metre": "m", "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "millimetre": "mm",
    "kilometer": "km", "kilometre": "km", "decimeter": "dm", "decimetre": "dm", "inch": "in", "inches": "in",
    "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi",
}  # fmt: skip
_WORD = "|".join(f"{word}s?" for word in sorted(_WORDS, key=len, reverse=True))
_INCH = r"in(?=\.?\s*(?:$|[,;:?)x×]|by\b|tall\b|wide\b|long\b|high\b|deep\b|away\b|apart\b|thick\b))"
_UNIT = re.compile(rf"[\s-]?(?:(?P<word>(?i:{_WORD}))\b|(?P<symbol>m|(?i:mm|cm|dm|km|ft|yds?|mi)|{_INCH})\b)")
"""behind a number; "in" only where it cannot be the preposition"""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")
_JOINED = re.compile(r"\s*(?:x|×|\*|by|to|-|–|±)\s*")
"""between numbers that share the unit behind the last"""
_LISTED = re.compile(r",?\s*(?:and|or)\s+|,\s*")
"""the same, where the numbers are alike in their decimals too"""
_AMOUNT = (
    r"an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|hundred|"
    r"thousand|half(?: an?)?|quarter|third|several|few|couple of|dozen|dozens of"
)
_UNSCALABLE = re.compile(
    rf"\b(?:{_AMOUNT})[\s-]+(?:{_WORD})\b|\b(?:square|cubic)[\s-]+(?:{_WORD}|ft|in|m|cm)\b|\bsq\.? ?(?:ft|m|in)\b"
    rf"|\d\s?(?:[cmdk]?m|ft|in)(?:[²³23^/]|\s+(?:per|squared|cubed)\b)|\d\s?(?:{_WORD})(?:[²³^/]|\s+(?:per|squared)\b)"
    r"|\d\s?['’′]\s?\d|\d\s?[\"”″]|[½¼¾⅓⅔]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ScaledText:
    """A text whose lengths were multiplied.

    Args:
        text: with the new lengths.
        before: its lengths as they were said, metres, in order.
        after: as they are said now, metres.
        bare: how many other numbers it holds.
    """

    text: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    bare: int


def scale_lengths(text: str, factor: float, largest_rounding: float = 0.05) -> ScaledText | None:
    """Multiply every length of a text, each in its unit and with the decimals it was said with.

    In "0.8 x 0.6 x 0.5 m", "1 to 2 m" and "0.8, 0.6 and 0.5 m" the unit holds for all.

    Args:
        text: m, cm, mm, dm, km, inches, feet, yards, miles, by symbol or word.
        factor: positive.
        largest_rounding: largest share of its value by which rounding may change a new length.

    Returns:
        The text, or None where a length of it cannot be multiplied or would be rounded further.
    """
    if _UNSCALABLE.search(text):
        return None
    numbers = list(_NUMBER.finditer(text))
    units = _units(text, numbers)
    parts, before, after, end = [], [], [], 0
    for number, unit in zip(numbers, units, strict=True):
        if unit is None:
            continue
        if not _is_plain(text, number):
            return None
        said = number[0]
        decimals = len(said.partition(".")[2])
        exact = float(said) * factor
        rounded = round(exact, decimals)
        if abs(rounded - exact) > largest_rounding * exact:
            return None
        now = f"{rounded:.{decimals}f}"
        parts += [text[end : number.start()], now]
        end = number.end()
        before.append(float(Decimal(said) * _METRES[unit]))
        after.append(float(Decimal(now) * _METRES[unit]))
    return ScaledText("".join([*parts, text[end:]]), tuple(before), tuple(after), len(numbers) - len(before))


def _units(text: str, numbers: list[re.Match[str]]) -> list[str | None]:
    """Symbol of the unit of each number, None for a number that is no length."""
    units: list[str | None] = []
    for number in numbers:
        behind = _UNIT.match(text, number.end())
        units.append(None if behind is None else _symbol(behind))
    for index in range(len(numbers) - 2, -1, -1):
        one, other = numbers[index], numbers[index + 1]
        between = text[one.end() : other.start()]
        alike = "." in one[0] and len(one[0].partition(".")[2]) == len(other[0].partition(".")[2])
        if units[index] is None and (_JOINED.fullmatch(between) or (alike and _LISTED.fullmatch(between))):
            units[index] = units[index + 1]
    return units


def _symbol(unit: re.Match[str]) -> str:
    if unit["word"]:
        word = unit["word"].lower()
        return _WORDS.get(word) or _WORDS[word.removesuffix("s")]
    return unit["symbol"].lower().removesuffix("s")


def _is_plain(text: str, number: re.Match[str]) -> bool:
    """Whether it is a decimal number that stands alone: no fraction, no thousands, no part of a word."""
    ahead = text[max(number.start() - 1, 0) : number.start()]
    return bool(_PLAIN.fullmatch(number[0])) and not re.match(r"[\w.,/]", ahead)
