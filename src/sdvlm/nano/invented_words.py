"""Words that mean nothing, drawn anew each time: some of syllables, some that look like English.

A word that a small model has never read comes to it as pieces of words that it has. Pieces of syllables drawn at random
are not those that "pedestrian" or "mustard" break into, so half of the words are strung together from letters that
follow each other in the words of the training questions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

import numpy as np

from sdvlm.data.categories import COMMON_CATEGORIES
from sdvlm.data.phrasings import ALL_TEMPLATES, phrasings
from sdvlm.scenes.furniture import CATEGORIES

__all__ = ["invented_word"]

_ENGLISH = 0.5
"""how often a word looks like English"""
_SHORTEST, _LONGEST = 3, 11
"""letters of such a word"""
_CONSONANTS, _VOWELS, _ENDINGS = "bcdfghjklmnprstvwz", "aeiou", ("", "n", "r", "l", "ck", "st", "t")


def invented_word(rng: np.random.Generator, words: int = 3, syllables: int = 3) -> str:
    """Up to that many words of up to that many syllables, which mean nothing; more often few than many."""
    return " ".join(_one(rng, syllables) for _ in range(1 + int(words * rng.random() ** 2)))


def _one(rng: np.random.Generator, syllables: int) -> str:
    while True:
        word = _english_like(rng) if rng.random() < _ENGLISH else _of_syllables(rng, syllables)
        if word not in _known_words():
            return word


def _of_syllables(rng: np.random.Generator, most: int) -> str:
    spoken = [
        "".join(rng.choice(list(part)) for part in (_CONSONANTS, _VOWELS)) for _ in range(rng.integers(1, most + 1))
    ]
    return "".join(spoken) + str(rng.choice(_ENDINGS))


def _english_like(rng: np.random.Generator) -> str:
    """A chain of letters, each drawn as it follows the two before it in known words."""
    while True:
        word = ""
        while len(word) <= _LONGEST:
            after = _letters()[word[-2:]]
            letter = after[rng.integers(len(after))]
            if not letter:
                break
            word += letter
        if _SHORTEST <= len(word) <= _LONGEST:
            return word


@cache
def _known_words() -> frozenset[str]:
    """The words of the training questions, and of things."""
    asked = [text for topic in ALL_TEMPLATES for _, text in phrasings(topic, "all")]
    return frozenset(re.findall(r"[a-z]{2,}", " ".join([*asked, *COMMON_CATEGORIES, *CATEGORIES]).lower()))


@cache
def _letters() -> dict[str, list[str]]:
    """The letters that follow each two letters of known words, and none where a word ends there."""
    follows: dict[str, list[str]] = defaultdict(list)
    for word in sorted(_known_words()):
        if len(word) < _SHORTEST:
            continue
        for end in range(len(word) + 1):
            follows[word[max(0, end - 2) : end]].append(word[end : end + 1])
    return dict(follows)
