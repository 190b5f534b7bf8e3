"""English nouns as labels use them: plural, singular, article."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["clean_label", "head_of", "is_countable", "is_plural", "plural", "singular", "with_article"]

_IRREGULAR = {
    "shelf": "shelves", "bookshelf": "bookshelves", "person": "people", "loaf": "loaves", "knife": "knives",
    "leaf": "leaves", "mouse": "mice", "bus": "buses", "foot": "feet", "child": "children", "man": "men",
}  # fmt: skip
_ONLY_PLURAL = frozenset({"clothes", "stairs", "scissors", "pants", "jeans", "shorts", "glasses", "headphones"})
_SINGULAR_IN_S = frozenset({"canvas", "gas", "lens", "atlas", "news", "tennis", "chassis", "compass", "iris"})
_UNCOUNTABLE = frozenset(
    {"paper", "clothing", "luggage", "furniture", "laundry", "food", "water", "equipment", "cutlery", "stuff", "trash",
     "garbage", "bedding", "fabric", "jewelry", "bread", "artwork", "mail", "cardboard", "soap", "silverware",
     "glassware", "foam"}
)  # fmt: skip
_LIKE_A_CONSONANT = re.compile(r"one\b|euro")
_LIKE_A_VOWEL = re.compile(r"umb|hour|x-?ray|xbox|led\b|lcd\b|[lsx][- ]shaped")
_TAIL = re.compile(r" (?:with|of|on|in|near|by|at|under|for|from|without|next to)\b.*")


def clean_label(label: str) -> str:
    """A source's label as a category: lower case, words parted by single spaces, nothing but letters and digits.

    "Office_Chair " -> "office chair"; apostrophes and hyphens stay; "" where nothing is left.
    """
    kept = "".join(sign if sign.isalnum() or sign in "'-" else " " for sign in label.lower())
    return " ".join(kept.split())


@cache
def head_of(noun: str) -> str:
    """The label without what a preposition adds: "box of tissues" -> "box"."""
    return _TAIL.sub("", noun)


@cache
def plural(noun: str) -> str:
    """English plural of a category, of a plural itself: "coffee table" -> "coffee tables", "shelves" -> "shelves"."""
    head = head_of(noun)
    if head != noun:
        return plural(head) + noun[len(head) :]
    *first, last = noun.split(" ")
    if is_plural(last):
        return noun
    ending = next((one for one in sorted(_IRREGULAR, key=len, reverse=True) if _ends(last, one)), None)
    if ending is not None:
        last = last[: -len(ending)] + _IRREGULAR[ending]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*first, last])


@cache
def singular(noun: str) -> str:
    """English singular: "kitchen cabinets" -> "kitchen cabinet". A noun that has none is returned as it is."""
    head = head_of(noun)
    if head != noun:
        return singular(head) + noun[len(head) :]
    *first, last = noun.split(" ")
    if not is_plural(last) or last in _ONLY_PLURAL:
        return noun
    for one, many in _IRREGULAR.items():
        if _ends(last, many):
            return " ".join([*first, last[: -len(many)] + one])
    guesses = [last[:-3] + "y"] if last.endswith("ies") else []
    guesses += [last[:-2]] if last.endswith(("sses", "xes", "zzes", "ches", "shes")) else []
    found = next((guess for guess in [*guesses, last[:-1]] if plural(guess) == last), last)
    return " ".join([*first, found])


@cache
def is_plural(noun: str) -> bool:
    """Whether the label names several things, or a thing that English counts as several ("curtains", "scissors")."""
    last = head_of(noun).rsplit(" ", 1)[-1]
    if last in _ONLY_PLURAL or any(_ends(last, many) for many in _IRREGULAR.values()):
        return True
    return last.endswith("s") and not last.endswith(("ss", "us", "is")) and last not in _SINGULAR_IN_S


@cache
def is_countable(noun: str) -> bool:
    """Whether instances of that label can be counted by it: one chair, two chairs; not "kitchen cabinets", "paper"."""
    return not is_plural(noun) and head_of(noun).rsplit(" ", 1)[-1] not in _UNCOUNTABLE


@cache
def with_article(noun: str) -> str:
    """With its indefinite article, where it takes one: "a chair", "an armchair", "toilet paper", "kitchen cabinets"."""
    if head_of(noun).rsplit(" ", 1)[-1] in _UNCOUNTABLE or is_plural(noun):
        return noun
    vowel = noun[:1] in "aeio" and not _LIKE_A_CONSONANT.match(noun)
    return f"{'an' if vowel or _LIKE_A_VOWEL.match(noun) else 'a'} {noun}"


def _ends(word: str, ending: str) -> bool:
    """Whether the word is that ending, or a compound of it written in one ("bookshelves", "houseplant")."""
    return word == ending or (len(ending) > 4 and word.endswith(ending))
