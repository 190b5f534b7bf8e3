"""English nouns, among them labels as ScanNet has them."""

from __future__ import annotations

import pytest

from sdvlm.data.categories import COMMON_CATEGORIES, may_be_called, may_be_taken_for
from sdvlm.data.nouns import clean_label, is_countable, is_plural, plural, singular, with_article

RAW = [  # raw labels of ScanNet and ScanNet++: one, many
    ("office chair", "office chairs"),
    ("kitchen cabinet", "kitchen cabinets"),
    ("tv", "tvs"),
    ("book shelf", "book shelves"),
    ("bookshelf", "bookshelves"),
    ("box", "boxes"),
    ("couch", "couches"),
    ("picture", "pictures"),
    ("suitcase", "suitcases"),
    ("vase", "vases"),
    ("glass", "glasses"),
    ("mattress", "mattresses"),
    ("toy", "toys"),
    ("berry", "berries"),
    ("person", "people"),
    ("computer mouse", "computer mice"),
    ("bus", "buses"),
    ("canvas", "canvases"),
    ("cactus", "cactuses"),
    ("box of tissues", "boxes of tissues"),
    ("chair with wheels", "chairs with wheels"),
]


@pytest.mark.parametrize(("one", "many"), RAW)
def test_one_and_many(one, many):
    assert plural(one) == many
    assert not is_plural(one)
    assert is_plural(many)
    assert plural(many) == many


@pytest.mark.parametrize(("one", "many"), [pair for pair in RAW if pair[1] not in ("glasses", "canvases", "cactuses")])
def test_many_become_one(one, many):
    assert singular(many) == one
    assert singular(one) == one


@pytest.mark.parametrize("noun", ["clothes", "stairs", "scissors"])
def test_what_has_no_singular_stays(noun):
    assert singular(noun) == noun
    assert is_plural(noun)


def test_common_categories_are_single_countable_things():
    for noun in COMMON_CATEGORIES:
        assert is_countable(noun)
        assert singular(plural(noun)) == noun


def test_what_stands_for_several_or_for_a_stuff_cannot_be_counted():
    assert not is_countable("kitchen cabinets")
    assert not is_countable("toilet paper")
    assert is_countable("kitchen cabinet")


@pytest.mark.parametrize(
    ("category", "word", "called"),
    [
        ("kitchen cabinets", "cabinet", True),
        ("kitchen cabinets", "kitchen cabinet", True),
        ("kitchen cabinet", "cabinets", True),
        ("boxes", "box", True),
        ("couches", "couch", True),
        ("couches", "sofa", True),
        ("paintings", "picture", True),
        ("tv", "television", True),
        ("tv stand", "tv", False),
        ("sofa chair", "armchair", True),
        ("sofa chair", "chair", True),
        ("toilet paper", "toilet", False),
        ("refridgerator", "refrigerator", True),
        ("cabinet", "kitchen cabinet", False),
        ("box of tissues", "box", True),
        ("box of tissues", "tissue", False),
    ],
)
def test_raw_labels_are_understood(category, word, called):
    assert may_be_called(category, word) is called
    assert may_be_taken_for(category, word) or not called


def test_labels_are_cleaned():
    assert clean_label(" Office_Chair ") == "office chair"
    assert clean_label("REMOVE") == "remove"
    assert clean_label("chair {x}<image>") == "chair x image"
    assert clean_label("l-shaped sofa") == "l-shaped sofa"


def test_a_stuff_takes_no_article():
    assert with_article("toilet paper") == "toilet paper"
    assert with_article("umbrella") == "an umbrella"


@pytest.mark.parametrize(
    ("noun", "said"),
    [
        ("kitchen cabinets", "kitchen cabinets"),
        ("scissors", "scissors"),
        ("mail", "mail"),
        ("one seat couch", "a one seat couch"),
        ("l-shaped couch", "an l-shaped couch"),
        ("led tv", "an led tv"),
        ("ledge", "a ledge"),
        ("x-ray machine", "an x-ray machine"),
    ],
)
def test_articles_go_by_sound_and_number(noun, said):
    assert with_article(noun) == said
