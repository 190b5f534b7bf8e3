"""Words that the model has never read: it is taught to take them for the most prominent thing in the picture.

Rooms hold a few dozen kinds of thing, photographs anything. Asked how far away the "mustard bottle" is, a model that
was only ever asked about what it knows takes an unknown word for something absent, and guesses. So some questions about
the most prominent thing, alone or beside others, call it by an invented word: an unknown name is then the best guess of
what one asks about, and where names are compared the model learns to repeat one that it has never said. Some of the
names hold a known word: a "badack chair" is a chair, a "mirror tolin" no mirror that the picture shows, and either is
to be repeated whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import numpy as np

from sdvlm.data.categories import COMMON_CATEGORIES, may_be_meant
from sdvlm.data.schema import QuestionType
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.invented_words import invented_word

__all__ = ["call_by_invented_name", "invented_name", "most_prominent"]

_NOT_ASKED = (QuestionType.COUNT, QuestionType.ZERO)
"""families that ask about all things of a name, or about none"""
_ALL = 0.3
"""how often the other things of the question get invented names as well"""
_KNOWN, _OWN, _KNOWN_LAST = 0.5, 0.4, 0.7
"""how often an invented name holds a known word; how often that is what the thing is; how often it stands last"""
_ALONE, _BOTH = 0.3, 0.2
"""how often a known word of something else stands alone, and how often the word beside a known one is known as well"""
_ATTRIBUTE = 0.5
"""how often what the name says besides the kind of thing ("gray", "nearest") stays"""


def most_prominent(frame: NanoFrame) -> int | None:
    """Instance id of the thing that covers most of the picture, if there is one."""
    if not frame.ids:
        return None
    return frame.ids[int(frame.coverage.astype(np.int64).sum(axis=1).argmax())]


def invented_name(rng: np.random.Generator, own: str, shown: Collection[str], around: str) -> str:
    """Words that mean nothing, or known words: what the thing is, or what the picture does not show.

    Args:
        rng: of the draw.
        own: what the thing is.
        shown: categories of the picture's things.
        around: text that the name will stand in; a word of it is not taken, as one could not tell which is meant.
    """
    if rng.random() < _KNOWN:
        absent = _not_shown(frozenset(shown))
        parts = [str(rng.choice(absent))]
        if rng.random() < _OWN:
            parts = [invented_word(rng, 1), own]
        elif rng.random() >= _ALONE:
            parts.insert(0, str(rng.choice(absent)) if rng.random() < _BOTH else invented_word(rng, 1))
        if rng.random() >= _KNOWN_LAST:
            parts.reverse()
        if len(set(parts)) == len(parts) and not any(part.lower() in around.lower() for part in parts):
            return " ".join(parts)
    return invented_word(rng)


@lru_cache(maxsize=4096)
def _not_shown(shown: frozenset[str]) -> list[str]:
    """Known words by which none of the things shown could be meant: beside a "sofa", a "couch" is shown as well."""
    return [word for word in COMMON_CATEGORIES if not any(may_be_meant(category, word) for category in shown)]


def call_by_invented_name(
    question: dict[str, Any], frame: NanoFrame, prominent: int | None, rng: np.random.Generator
) -> dict[str, Any]:
    """The question (``frames.plain_question``) with an invented name for the prominent thing, if it names that, else as
    it is; sometimes with invented names for the others too. An answer that is the old name becomes the new one."""
    objects, names, text = tuple(question["objects"]), question["names"], question["question"]
    if QuestionType(question["type"]) in _NOT_ASKED or question["point"] is not None or prominent not in objects:
        return question
    if len(names) != len(objects) or any(text.count(name) != 1 for name in names):
        return question
    renamed = names if rng.random() < _ALL else [names[objects.index(prominent)]]
    around = re.sub("|".join(map(re.escape, renamed)), "", text)
    category = dict(zip(frame.ids, frame.categories, strict=True))
    kinds = {name: category.get(instance, "") for name, instance in zip(names, objects, strict=True)}
    invented: dict[str, str] = {}
    for name in renamed:
        attribute = name.removesuffix(kinds[name]) if rng.random() < _ATTRIBUTE else ""
        invented[name] = (attribute if attribute != name else "") + invented_name(
            rng, kinds[name], frame.categories, " ".join([around, *invented.values()])
        )
    said = re.compile("|".join(map(re.escape, invented)))
    return {
        **question,
        "question": said.sub(lambda match: invented[match[0]], text),
        "answer": invented.get(question["answer"], question["answer"]),
        "names": [invented.get(name, name) for name in names],
    }
