"""Whether a name that somebody gave an object is fit to be used: clean, right as far as can be told, and only its own.

Nothing here asks anybody: words, categories and colour words decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sdvlm.data.categories import may_be_called
from sdvlm.data.observe import ObservedObject
from sdvlm.scenes.palette import COLORS

__all__ = ["NameRejectedError", "NameRules", "clean_name", "find_rivals", "may_name", "sole_names"]

_POSITION_WORDS = frozenset(
    {
        "left", "leftmost", "right", "rightmost", "near", "nearest", "nearer", "close", "closest", "closer",
        "far", "farthest", "farther", "furthest", "front", "back", "behind", "beside", "next", "adjacent",
        "above", "below", "under", "over", "top", "bottom", "upper", "lower", "middle", "center", "centre",
        "central", "corner", "side", "between", "first", "second", "third", "last", "other", "another",
        "foreground", "background", "in", "on", "at", "by", "of", "with", "from", "to", "opposite", "against",
        "end", "edge", "this", "that",
    }
)  # fmt: skip
_SIZE_WORDS = frozenset(
    {
        "tall", "taller", "tallest", "short", "shorter", "shortest", "large", "larger", "largest", "big",
        "bigger", "biggest", "small", "smaller", "smallest", "little", "long", "longer", "longest", "wide",
        "wider", "widest", "narrow", "narrower", "narrowest", "high", "higher", "highest", "low", "lower",
        "lowest", "huge", "tiny", "deep", "deeper", "deepest", "thick", "thin", "giant", "medium", "size",
        "sized",
    }
)  # fmt: skip
_SHADES = frozenset(
    {
        "dark", "light", "bright", "pale", "deep", "soft", "plain", "colored", "coloured", "color", "colour",
    }
)  # fmt: skip
"""words that change a colour only a little: they tell nothing apart on their own"""
_SPELLINGS = {"grey": "gray", "colour": "color", "coloured": "colored"}
_PREFIX = re.compile(r"^(?:name|answer)\s*:\s*", re.IGNORECASE)
_ALLOWED = re.compile(r"[a-z]+(?:[-'][a-z]+)*(?: [a-z]+(?:[-'][a-z]+)*)*")
_MIN_NOUN = 4
"""letters from which a word may be the end of another one: an armchair is a chair, but a sink is no ink"""


class NameRejectedError(ValueError):
    """The name is not fit; the message says why in a word or two, for counting."""


@dataclass(frozen=True)
class NameRules:
    """What a given name may be."""

    max_words: int = 6
    """words at most"""
    max_characters: int = 48
    """characters at most"""
    allow_relative: bool = False
    """whether position and size words may stand in it; they answer the questions that are to be asked"""


def clean_name(said: str, seen: ObservedObject, rules: NameRules) -> str:
    """A name as it will be used: lower case, single blanks, without article, quotation marks and full stop.

    Raises:
        NameRejectedError: too long; characters or digits that no name has; position or size words; not a word for its
            category; a colour it does not have.
    """
    text = " ".join(_PREFIX.sub("", said.strip()).strip("\"'`*.!, ").lower().replace("’", "'").split())
    text = re.sub(r"^(?:the|an?) ", "", text)
    words = [_SPELLINGS.get(word, word) for word in text.split(" ")]
    name = " ".join(words)
    if len(words) > rules.max_words or len(name) > rules.max_characters:
        raise NameRejectedError("too long")
    if not _ALLOWED.fullmatch(name):
        raise NameRejectedError("not a name")
    own = set(seen.category.lower().split())
    pieces = {piece for word in words for piece in (word, *word.split("-"))} - own
    if not rules.allow_relative and pieces & (_POSITION_WORDS | _SIZE_WORDS):
        raise NameRejectedError("position or size")
    adjectives = _adjectives(name, seen.category)
    if adjectives is None:
        raise NameRejectedError("another kind of thing")
    if any(not _may_have(word, seen) for word in adjectives):
        raise NameRejectedError("wrong color")
    return name


def find_rivals(name: str, seen: ObservedObject, objects: tuple[ObservedObject, ...]) -> tuple[int, ...]:
    """Ids of other objects that may be of the kind a name says, and that no colour word in it excludes.

    Raises:
        NameRejectedError: for one of them nothing but colour speaks against it, and colour does not.
    """
    rivals = []
    for other in objects:
        adjectives = None if other.id == seen.id else _adjectives(name, other.category)
        if adjectives is None or any(not _may_have(word, other) for word in adjectives):
            continue
        if all(word in COLORS or word in _SHADES for word in adjectives):
            raise NameRejectedError("fits another")
        rivals.append(other.id)
    return tuple(rivals)


def may_name(name: str, category: str) -> bool:
    """Whether a name may be said of a thing of that category, as far as its noun tells."""
    return _adjectives(name, category) is not None


def sole_names(names: Mapping[int, str], categories: Mapping[int, str]) -> dict[int, str | None]:
    """Names that no other object's name implies; None for the others.

    "wooden chair" falls where another object is a "dark wooden chair", and both fall where two are named alike.
    """
    sole: dict[int, str | None] = {}
    for one, name in names.items():
        words = set(name.split())
        shared = any(
            words <= set(other_name.split()) and _adjectives(name, categories[other]) is not None
            for other, other_name in names.items()
            if other != one
        )
        sole[one] = None if shared or list(names.values()).count(name) > 1 else name
    return sole


def _adjectives(name: str, category: str) -> tuple[str, ...] | None:
    """The words before the longest ending of a name that may be said of a category; None if no ending may."""
    words = name.split()
    for start in range(len(words)):
        noun = " ".join(words[start:])
        whole = len(noun) >= _MIN_NOUN or noun in category.split()
        if whole and may_be_called(category, noun):
            return tuple(piece for word in words[:start] for piece in word.split("-"))
    return None


def _may_have(word: str, seen: ObservedObject) -> bool:
    """Whether an object may have the colour a word names; True for other words and for unknown colours."""
    return word not in COLORS or not seen.colors.possible or word in seen.colors.possible
