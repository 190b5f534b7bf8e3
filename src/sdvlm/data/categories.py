"""Words for categories: what else a thing may be called, its plural, its article.

A name is only distinguishing, and a "no" only certain, when no *other* thing could be meant by the same word. So a
coffee table counts as a table, a sofa as a couch, an armchair as a chair.
"""

from __future__ import annotations

from functools import cache

__all__ = ["COMMON_CATEGORIES", "STRUCTURE_CATEGORIES", "may_be_called", "may_be_taken_for", "plural", "with_article"]

STRUCTURE_CATEGORIES = frozenset(
    {
        "wall", "floor", "ceiling", "room", "object", "objects", "unknown", "unlabeled", "unannotated", "void",
        "remove", "structure", "otherstructure", "otherfurniture", "otherprop", "misc", "item", "beam", "column",
        "stairs", "baseboard", "trim", "frame", "doorframe", "door frame", "window frame", "light",
        "ceiling light", "pipe",
    }
)  # fmt: skip
"""Parts of the building and catch-all labels: never asked about."""

COMMON_CATEGORIES = (
    "armchair", "backpack", "bathtub", "bed", "bench", "bicycle", "bookshelf", "box", "cabinet", "chair",
    "coffee table", "couch", "curtain", "desk", "door", "dresser", "fan", "fireplace", "guitar", "keyboard", "lamp",
    "microwave", "mirror", "monitor", "nightstand", "ottoman", "picture", "piano", "pillow", "plant", "printer",
    "refrigerator",
    "shelf", "sink", "stool", "suitcase", "table", "television", "toilet", "trash can", "wardrobe", "washing machine",
    "window",
)  # fmt: skip
"""Indoor things a picture may be asked about when it does not hold them."""

_SYNONYMS = (
    {"sofa", "couch", "loveseat", "settee"},
    {"tv", "television"},
    {"monitor", "screen", "computer monitor", "display"},
    {"trash can", "trash bin", "garbage bin", "garbage can", "recycling bin", "waste basket", "wastebasket"},
    {"bookshelf", "bookcase"},
    {"refrigerator", "fridge"},
    {"curtain", "curtains", "drapes"},
    {"picture", "painting", "poster", "picture frame"},
    {"rug", "carpet"},
    {"pillow", "cushion"},
    {"wardrobe", "closet"},
    {"nightstand", "bedside table"},
    {"plant", "potted plant"},
)
"""Different words for the same things."""

_LOOKALIKES = (
    {"sofa", "couch", "armchair", "chair", "bench", "loveseat", "recliner"},
    {"tv", "television", "monitor", "screen", "whiteboard", "laptop"},
    {"trash can", "trash bin", "garbage bin", "recycling bin", "bin", "wastebasket", "bucket", "basket", "vase"},
    {"bookshelf", "bookcase", "shelf", "shelves", "rack", "cabinet", "cupboard", "storage shelf"},
    {"cabinet", "cupboard", "dresser", "chest of drawers", "wardrobe", "closet", "sideboard", "tv stand", "nightstand",
     "bedside table", "end table", "drawer", "kitchen cabinet", "door"},
    {"desk", "table", "counter", "coffee table", "nightstand", "tv stand", "end table", "side table"},
    {"curtain", "curtains", "drapes", "shower curtain", "blinds", "window"},
    {"picture", "painting", "poster", "picture frame", "whiteboard", "mirror", "window"},
    {"stool", "ottoman", "footrest", "pouf", "chair", "footstool"},
    {"box", "crate", "container", "storage bin", "suitcase", "carton"},
    {"plant", "potted plant", "flower", "flowerpot", "vase"},
    {"backpack", "bag", "suitcase", "luggage", "handbag"},
    {"rug", "carpet", "mat", "blanket", "towel"},
    {"bathtub", "sink", "toilet"},
)  # fmt: skip
"""Things that one may be taken for the other. Wide on purpose: it only makes fewer questions, never a wrong "no"."""

_IRREGULAR = {"shelf": "shelves", "bookshelf": "bookshelves", "person": "people", "loaf": "loaves", "knife": "knives"}
_ALREADY_PLURAL = frozenset({"curtains", "shelves", "blinds", "stairs", "books", "clothes", "shoes", "drapes"})


@cache
def may_be_called(category: str, word: str) -> bool:
    """Whether ``word`` is a right name for a thing of ``category``: the same, what it is a kind of, or a synonym."""
    if _singular(category).endswith(_singular(word)):
        return True
    return any(word in group and _in_group(category, group) for group in _SYNONYMS)


@cache
def may_be_taken_for(category: str, word: str) -> bool:
    """Whether somebody could see a ``word`` in a thing of ``category``: it may be called so, or it looks alike."""
    if may_be_called(category, word) or may_be_called(word, category):
        return True
    return any(_in_group(word, group) and _in_group(category, group) for group in _LOOKALIKES)


@cache
def plural(noun: str) -> str:
    """English plural of a category: "coffee table" -> "coffee tables", "bookshelf" -> "bookshelves"."""
    *first, last = noun.split(" ")
    if last in _ALREADY_PLURAL:
        return noun
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*first, last])


@cache
def with_article(noun: str) -> str:
    """With its indefinite article: "a chair", "an armchair"."""
    return f"{'an' if noun[:1] in 'aeio' or noun.startswith('umb') else 'a'} {noun}"


def _in_group(category: str, group: set[str]) -> bool:
    return category in group or any(category.endswith(" " + known) for known in group)


def _singular(noun: str) -> str:
    for one, many in _IRREGULAR.items():
        if noun.endswith(many):
            return noun[: -len(many)] + one
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun
