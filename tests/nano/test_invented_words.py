"""Invented words mean nothing, and half of them break into the pieces that real words break into."""

import re

import numpy as np

from sdvlm.data.phrasings import ALL_TEMPLATES, phrasings
from sdvlm.nano.invented_words import invented_word
from sdvlm.scenes.furniture import CATEGORIES


def test_they_are_many_and_none_is_a_category_or_a_word_of_the_training_questions() -> None:
    rng = np.random.default_rng(0)
    words = {invented_word(rng, 1, 3) for _ in range(2000)}
    asked = {
        word
        for topic in ALL_TEMPLATES
        for _, text in phrasings(topic, "all")
        for word in re.findall(r"[a-z]+", text.lower())
        if len(word) > 1
    }
    assert len(words) > 1500
    assert not words & (set(CATEGORIES) | asked)


def test_half_of_them_are_not_made_of_syllables() -> None:
    rng = np.random.default_rng(0)
    words = [invented_word(rng, 1, 3) for _ in range(500)]
    syllables = re.compile(r"(?:[bcdfghjklmnprstvwz][aeiou]){1,3}(?:n|r|l|ck|st|t)?")
    others = [word for word in words if not syllables.fullmatch(word)]
    assert 0.3 < len(others) / len(words) < 0.6
    assert all(3 <= len(word) <= 11 for word in others)


def test_the_same_draw_gives_the_same_word_and_up_to_so_many_of_them() -> None:
    first, second = ([invented_word(np.random.default_rng(seed), 3) for seed in range(200)] for _ in range(2))
    assert first == second
    assert {len(words.split()) for words in first} == {1, 2, 3}
