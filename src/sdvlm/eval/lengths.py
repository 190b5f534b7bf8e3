"""Lengths in free text: numbers, units, conversions to metres.

Conversions: inch 0.0254, foot 0.3048, yard 0.9144 m, exactly; the first two and the centimetre as in the MSMU judge's
prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sdvlm.eval.numerals import fractions_to_decimals

__all__ = ["Length", "find_lengths", "written_alike"]

_UNITS = {
    "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0, "mtr": 1.0, "mtrs": 1.0,
    "cm": 0.01, "cms": 0.01, "centimeter": 0.01, "centimeters": 0.01, "centimetre": 0.01, "centimetres": 0.01,
    "mm": 0.001, "millimeter": 0.001, "millimeters": 0.001, "millimetre": 0.001, "millimetres": 0.001,
    "dm": 0.1, "decimeter": 0.1, "decimeters": 0.1, "decimetre": 0.1, "decimetres": 0.1,
    "km": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0,
    "in": 0.0254, "inch": 0.0254, "inches": 0.0254, '"': 0.0254, "″": 0.0254, "”": 0.0254,
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "'": 0.3048, "′": 0.3048, "’": 0.3048,
    "yd": 0.9144, "yds": 0.9144, "yard": 0.9144, "yards": 0.9144,
}  # fmt: skip

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?"
_UNIT = "|".join(sorted((unit for unit in _UNITS if unit.isalpha() and unit != "in"), key=len, reverse=True))
_MARK = "|".join(re.escape(unit) for unit in _UNITS if not unit.isalpha())
_INCH = r"in(?=\.?\s*(?:$|[,;:)x×]|by\b|and\b|or\b|tall\b|wide\b|long\b|high\b|deep\b|away\b|from\b))"
_LENGTH = re.compile(
    rf"(?<![\w.,])(?P<number>[-+]?{_NUMBER})(?:\s*(?:-|–|—|\bto\b)\s*(?P<upper>{_NUMBER}))?"
    rf"(?:\s*-?\s*(?P<unit>(?:{_UNIT})\b|{_INCH})|\s?(?P<mark>{_MARK}))?",
    re.IGNORECASE,
)
_LATEX = re.compile(r"\\(?:text|mathrm|textbf|boxed)\{([^{}]*)\}|\\[(),;]|\$")
_DECIMAL_COMMA = re.compile(rf"(?<![\w.,])(0,\d+|\d+,\d{{1,2}})(?=\s*(?:{_UNIT})\b)", re.IGNORECASE)
_ONE = re.compile(rf"\ban? (?=(?:{_UNIT})\b)", re.IGNORECASE)
_AND_A_HALF = re.compile(rf"\b(\d+) ({_UNIT}) and a half\b", re.IGNORECASE)
_TOLERANCE = re.compile(rf"\s*\(?\s*(?:±|\+/-|\+-|,? ?\b(?:plus or minus|give or take))\s*{_NUMBER}\)?", re.IGNORECASE)
_BETWEEN = re.compile(rf"\bbetween ({_NUMBER})(?:\s*(?:{_UNIT}))? and (?={_NUMBER})", re.IGNORECASE)
_UNIT_TWICE = re.compile(
    rf"(?<![\w.,])({_NUMBER})\s*({_UNIT})\s*(?:-|–|—|\bto\b)\s*(?={_NUMBER}\s*\2\b)", re.IGNORECASE
)
_BY = re.compile(rf"(?<=[\d.])\s*((?:{_UNIT}|in)\b)?\s*(?:x|×|\*|by)\s*(?=[\d.])", re.IGNORECASE)
_FEET_AND_INCHES = re.compile(
    r"(\d+(?:\.\d+)?)\s*-?(?:feet|foot|ft\.?|'|′|’)[\s-]*(?:and\s*)?"
    r"(\d+(?:\.\d+)?)\s*-?(?:inches|inch|in\b\.?|\"|″|”|'')",
    re.IGNORECASE,
)
_METRES_AND_CENTIMETRES = re.compile(
    r"(?<![\w.,])(\d+)\s*(?:m|met(?:er|re)s?),?\s*(?:and\s*)?(\d{1,2})\s*(?:cm|centimet(?:er|re)s?)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Length:
    """A length found in text.

    Args:
        metres: its value; NaN-free, never negative.
        has_unit: whether a unit stood behind it; without one it is taken as metres.
        start, end: where it stands in the text as :func:`written_alike` writes it.
    """

    metres: float
    has_unit: bool
    start: int
    end: int


def written_alike(text: str) -> str:
    """The text with lengths written one way: fractions as decimals, feet with inches and metres with
    centimetres as metres, ranges with "to".

    Writing it twice changes nothing more.
    """
    text = _LATEX.sub(lambda match: match[1] or "", text)
    text = _DECIMAL_COMMA.sub(lambda match: match[1].replace(",", "."), fractions_to_decimals(text))
    text = _AND_A_HALF.sub(r"\1.5 \2", _ONE.sub("1 ", text))
    text = _TOLERANCE.sub("", text)
    text = _FEET_AND_INCHES.sub(lambda match: f"{float(match[1]) * 0.3048 + float(match[2]) * 0.0254:.6f} m", text)
    text = _METRES_AND_CENTIMETRES.sub(lambda match: f"{int(match[1]) + int(match[2]) / 100:.2f} m", text)
    text = _UNIT_TWICE.sub(r"\1 to ", _BETWEEN.sub(r"\1 to ", text))
    return _BY.sub(lambda match: f" {match[1] or ''} × ", text)


def find_lengths(text: str) -> list[Length]:
    """All lengths of a text, in order.

    A range ("1 to 1.5 m") counts as its middle, "5 ft 6 in" as one length, "1.5 ± 0.2 m" as 1.5 m. In "0.8 x 0.6 x 0.5
    m" and "0.8, 0.6 m" the unit holds for all. If any number has a unit, those without are no lengths ("chair 2 stands
    1.3 m away").
    """
    text = written_alike(text)
    found = list(_LENGTH.finditer(text))
    units = [_unit(text, match) for match in found]
    for index in range(len(found) - 2, -1, -1):
        between = text[found[index].end() : found[index + 1].start()]
        if units[index] is None and re.fullmatch(r"\s*(?:×|,|,?\s*and)\s*", between):
            units[index] = units[index + 1]
    any_unit = any(unit is not None for unit in units)
    lengths = []
    for match, unit in zip(found, units, strict=True):
        value = float(match["number"].replace(",", ""))
        if match["upper"]:
            value = (value + float(match["upper"].replace(",", ""))) / 2
        if value >= 0 and (unit is not None or not any_unit):
            metres = value * (_UNITS[unit] if unit else 1.0)
            lengths.append(Length(metres, unit is not None, match.start(), match.end()))
    return lengths


def _unit(text: str, match: re.Match[str]) -> str | None:
    """The unit behind a number; a quotation mark is one only if none opened before the number."""
    if match["mark"] and text[match.start() - 1 : match.start()] != match["mark"]:
        return match["mark"]
    return match["unit"].lower() if match["unit"] else None
