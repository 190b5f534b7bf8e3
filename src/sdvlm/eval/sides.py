"""Left or right: what a sentence about two objects says to a yes/no question about their sides."""

from __future__ import annotations

import re

__all__ = ["side_verdict"]

_SIDE = re.compile(r"\b(left|right)\b(?![ -]?(?:hand corner|most))", re.IGNORECASE)
_DENIED = re.compile(r"(?:\bnot|n't|\brather than|\binstead of)(?: \w+){0,3}?\s*$", re.IGNORECASE)
_CORRECTED = re.compile(
    r",? ?(?:\b(?:and )?not|\brather than|\binstead of)(?: (?:to|on|at|in))?(?: the| its)? (?:left|right)(?: side)?",
    re.IGNORECASE,
)


def side_verdict(text: str, question: str) -> str | None:
    """Whether a statement confirms the side a question asks about.

    Args:
        text: a sentence such as "The bed is to the right of the curtain."
        question: "Is the bed to the left of the curtain?"; it names one side only.

    Returns:
        "yes", "no", or None where either says no side or several.
    """
    asked = _SIDE.findall(question)
    statement = text.replace("’", "'")
    corrected = _CORRECTED.sub("", statement)
    if _SIDE.search(corrected):  # "on the left, not the right"
        statement = corrected
    said = list(_SIDE.finditer(statement))
    if len(asked) != 1 or len({match[1].lower() for match in said}) != 1:
        return None
    match = said[0]
    holds = match[1].lower() == asked[0].lower()
    if _DENIED.search(statement[: match.start()]):
        holds = not holds
    if _swapped(statement, match, question):
        holds = not holds
    return "yes" if holds else "no"


def _swapped(statement: str, side: re.Match[str], question: str) -> bool:
    """Whether the statement speaks of the question's second object first: "the curtain is left of the bed"."""
    place = _SIDE.search(question)
    if place is None:
        return False
    first, second = _words(question[: place.start()]), _words(question[place.end() :])
    subject, other = _words(statement[: side.start()]), _words(statement[side.end() :])
    first, second = first - second, second - first
    return bool(subject & second) and not subject & first and bool(other & first or not other & second)


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 2} - _COMMON


_COMMON = {
    "the", "and", "side", "from", "viewer", "perspective", "positioned", "located", "does", "appear", "indeed", "image",
    "picture", "can", "you", "confirm", "that", "see", "yes", "not", "its", "when", "viewed", "this",
}  # fmt: skip
