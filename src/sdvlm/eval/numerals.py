"""Numbers as people write them, as digits: words, fractions, decimal commas."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["fractions_to_decimals", "number_words_to_digits"]

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_WORDS = {word: value for value, word in enumerate(_ONES)} | _TENS
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_FRACTION = re.compile(r"(?<![\w.,/])(?:(?P<whole>\d+)[\s-]+)?(?P<above>\d{1,2})\s?/\s?(?P<below>\d{1,2})(?![\w/.]\d)")


def number_words_to_digits(text: str) -> str:
    """English number words as digits: "two and a half" -> "2.5", "twenty-one" -> "21", "a couple of" -> "2"."""
    text = re.sub(r"\ba couple of\b", "2", text, flags=re.IGNORECASE)
    text = re.sub(r"\bhalf an? (?=\w)", "0.5 ", text, flags=re.IGNORECASE)
    tens, ones, every = "|".join(_TENS), "|".join(_ONES[1:10]), "|".join(_WORDS)
    text = re.sub(
        rf"\b({tens})[- ]({ones})\b",
        lambda match: str(_WORDS[match[1].lower()] + _WORDS[match[2].lower()]),
        text,
        flags=re.IGNORECASE,
    )
    text = re.sub(rf"\b({every})\b", lambda match: str(_WORDS[match[1].lower()]), text, flags=re.IGNORECASE)
    text = re.sub(r"\b(\d+) and a half\b", lambda match: f"{match[1]}.5", text, flags=re.IGNORECASE)
    return re.sub(r"\b(\d+) point (\d+)\b", r"\1.\2", text, flags=re.IGNORECASE)


def fractions_to_decimals(text: str) -> str:
    """Fractions as decimals: "1 1/2" and "1½" -> "1.5", "3/4" -> "0.75"."""
    text = re.sub(
        rf"(\d*)\s?([{_VULGAR}])",
        lambda match: f"{int(match[1] or 0) + unicodedata.numeric(match[2]):.6g}",
        text,
    )
    return _FRACTION.sub(_decimal, text)


def _decimal(match: re.Match[str]) -> str:
    above, below = int(match["above"]), int(match["below"])
    if below == 0 or above >= below:
        return match[0]
    return f"{int(match['whole'] or 0) + above / below:.6g}"
