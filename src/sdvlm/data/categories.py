"""What else a thing of a category may be called, and what it may be taken for.

A name is only distinguishing, and a "no" only certain, when no *other* thing could be meant by the same word. So a
coffee table counts as a table, a sofa as a couch, an armchair as a chair. Categories are the labels of the source, as
raw as ScanNet's ("office chair", "kitchen cabinets", "tv").
"""

from __future__ import annotations

from functools import cache

from sdvlm.data.nouns import head_of, is_countable, is_plural, plural, singular, with_article

__all__ = [
    "COMMON_CATEGORIES",
    "STRUCTURE_CATEGORIES",
    "is_countable",
    "is_plural",
    "may_be_called",
    "may_be_meant",
    "may_be_taken_for",
    "plural",
    "singular",
    "with_article",
]

STRUCTURE_CATEGORIES = frozenset(
    {
        "wall", "floor", "ceiling", "room", "object", "objects", "unknown", "unlabeled", "unannotated", "void",
        "remove", "structure", "otherstructure", "otherfurniture", "otherprop", "misc", "item", "beam", "column",
        "stairs", "baseboard", "trim", "frame", "doorframe", "door frame", "window frame", "light",
        "ceiling light", "pipe", "pipes", "split", "ledge", "rail", "railing", "handrail", "hand rail", "stair rail",
        "stair", "staircase", "banister", "windowsill", "window sill", "windowframe", "doorway", "door wall",
        "power outlet", "power socket", "socket", "light switch", "switch", "vent", "duct", "cable", "wire",
        "pillar", "roof", "ground", "background", "otherroom", "clutter", "unidentified",
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

_SYNONYM_WORDS = (
    {"sofa", "couch", "loveseat", "settee", "sofa bed"},
    {"armchair", "sofa chair", "easy chair", "recliner", "recliner chair"},
    {"tv", "television", "tele"},
    {"monitor", "screen", "computer monitor", "display"},
    {"trash can", "trash bin", "garbage bin", "garbage can", "recycling bin", "waste basket", "wastebasket", "dustbin",
     "rubbish bin", "bin", "trashcan", "wastebin", "litter bin"},
    {"bookshelf", "bookcase", "book shelf"},
    {"refrigerator", "fridge", "refridgerator"},
    {"cabinet", "cupboard"},
    {"file cabinet", "filing cabinet"},
    {"bathtub", "bath tub", "tub"},
    {"stove", "oven", "cooker"},
    {"end table", "side table"},
    {"ottoman", "footrest", "footstool", "pouf"},
    {"blackboard", "chalkboard"},
    {"backpack", "rucksack"},
    {"curtain", "curtains", "drapes"},
    {"picture", "painting", "poster", "picture frame"},
    {"rug", "carpet", "mat", "floor mat"},
    {"pillow", "cushion"},
    {"wardrobe", "closet"},
    {"nightstand", "bedside table", "night stand"},
    {"plant", "potted plant", "house plant", "houseplant"},
    {"luggage", "suitcase"},
    {"bicycle", "bike"},
    {"washing machine", "washer", "laundry machine"},
    {"printer", "photocopier", "copier", "copy machine"},
    {"bathroom sink", "washbasin", "wash basin", "basin"},
)  # fmt: skip
_SYNONYMS = tuple(frozenset(plural(word) for word in group) for group in _SYNONYM_WORDS)
"""Different words for the same things, as plurals."""

_LOOKALIKE_WORDS = (
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
    {"stove", "oven", "microwave"},
    {"washing machine", "dishwasher", "dryer"},
    {"blackboard", "whiteboard", "chalkboard", "bulletin board", "board", "poster", "picture"},
    {"lamp", "light", "light fixture", "lighting", "chandelier", "sconce", "lantern"},
    {"bed", "mattress", "bunk", "crib", "cot", "futon", "daybed"},
    {"couch", "sofa", "futon", "daybed", "sectional", "seat", "seating"},
    {"chair", "armchair", "bench", "seat", "seating", "rocker"},
    {"keyboard", "piano keyboard", "laptop", "synthesizer"},
    {"monitor", "computer", "imac", "tablet"},
    {"picture", "photo", "photograph", "artwork", "art", "print", "calendar", "map", "tapestry", "wall hanging"},
    {"plant", "tree", "bush", "cactus", "fern", "bonsai", "vegetation"},
    {"fireplace", "mantel", "mantle", "hearth", "fire place", "wood stove"},
    {"refrigerator", "freezer", "icebox", "cooler"},
    {"wardrobe", "armoire", "locker"},
    {"cabinet", "armoire", "locker", "hutch", "credenza", "buffet", "vanity", "bathroom vanity", "cabinetry"},
    {"dresser", "chest", "drawers", "commode", "vanity"},
    {"shelf", "shelving", "shelving unit", "shelf unit", "mantel"},
    {"table", "desk", "counter", "workbench", "workstation", "podium", "kitchen island", "island"},
    {"sink", "basin", "wash basin", "washbasin", "vanity", "bathroom vanity"},
    {"toilet", "urinal", "bidet"},
    {"mirror", "medicine cabinet", "vanity", "bathroom vanity"},
    {"box", "package", "parcel", "case", "chest", "cardboard"},
    {"backpack", "bag", "purse", "knapsack"},
    {"suitcase", "trunk", "case"},
    {"guitar", "guitar case", "ukulele", "banjo"},
    {"fan", "ventilator"},
    {"printer", "scanner", "fax machine"},
    {"door", "gate", "entrance"},
    {"window", "skylight", "glass door"},
    {"trash can", "trash", "garbage"},
)  # fmt: skip
_LOOKALIKES = tuple(frozenset(plural(word) for word in group) for group in _LOOKALIKE_WORDS)
"""Things that one may be taken for the other. Wide on purpose: it only makes fewer questions, never a wrong "no"."""


@cache
def may_be_called(category: str, word: str) -> bool:
    """Whether ``word`` is a right name for a thing of ``category``: the same, what it is a kind of, or a synonym.

    Singular and plural count as the same word: labels come in both.
    """
    if plural(category) == plural(word) or plural(head_of(category)).endswith(plural(word)):
        return True
    return any(plural(word) in group and _in_group(category, group) for group in _SYNONYMS)


@cache
def may_be_meant(category: str, word: str) -> bool:
    """Whether a thing labelled ``category`` could be meant by ``word``, where labels are loose: it may be called so, or
    its label is the wider word of the two (what is labelled "chair" may be an office chair)."""
    return may_be_called(category, word) or may_be_called(word, category)


@cache
def may_be_taken_for(category: str, word: str) -> bool:
    """Whether somebody could see a ``word`` in a thing of ``category``: it may be called so, or it looks alike."""
    if may_be_meant(category, word):
        return True
    return any(_in_group(word, group) and _in_group(category, group) for group in _LOOKALIKES)


def _in_group(category: str, group: frozenset[str]) -> bool:
    many = plural(category)
    return many in group or any(many.endswith(" " + known) for known in group)
