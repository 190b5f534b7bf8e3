"""Which questions each setting draws from."""

from __future__ import annotations

import re
import string
from importlib import resources
from pathlib import Path

import pytest

from sdvlm.data.categories import COMMON_CATEGORIES, plural
from sdvlm.data.phrasings import ALL_TEMPLATES, phrasings, sentences
from sdvlm.data.templates_held_out import HELD_OUT_QUESTIONS
from sdvlm.data.templates_more import MORE_ANSWERS, more_questions
from sdvlm.scenes.furniture import CATEGORIES

TOPICS = sorted(ALL_TEMPLATES)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_topic_has_more_and_held_out_questions_and_no_other_has():
    folder = Path(str(resources.files("sdvlm.data"))) / "wordings"
    files = {f"{path.parent.name}/{path.stem}" for path in folder.glob("*/*.txt")}
    assert files == set(HELD_OUT_QUESTIONS) == set(ALL_TEMPLATES)
    assert set(MORE_ANSWERS) <= set(ALL_TEMPLATES)


def words_of(text: str) -> tuple[str, ...]:
    """A wording without its punctuation."""
    return tuple(re.findall(r"[\w{}']+", text.lower()))


@pytest.mark.parametrize("topic", TOPICS)
def test_held_out_questions_are_at_least_five_and_never_asked_otherwise(topic):
    held_out = {text for _, text in phrasings(topic, "held_out")}
    assert len(held_out) >= 5
    others = {text for other in TOPICS for which in ("core", "all") for _, text in phrasings(other, which)}
    assert not {words_of(text) for text in held_out} & {words_of(text) for text in others}


@pytest.mark.parametrize("topic", TOPICS)
def test_all_holds_core_and_labels_are_unique(topic):
    core, every = phrasings(topic, "core"), phrasings(topic, "all")
    assert every[: len(core)] == core
    labels = [label for label, _ in (*every, *phrasings(topic, "held_out"))]
    assert len(set(labels)) == len(labels)
    assert len({text for _, text in every}) == len(every) > len(core) >= 5


@pytest.mark.parametrize("topic", TOPICS)
def test_every_way_to_ask_names_the_same_objects_and_numbers(topic):
    ways = [text for which in ("all", "held_out") for _, text in phrasings(topic, which)]
    wanted = {frozenset(places(text) - {"m", "meters", "right"}) for text in ways}
    assert len(wanted) == 1


@pytest.mark.parametrize("topic", TOPICS)
def test_every_line_of_the_wordings_is_one_question_that_no_other_topic_has(topic):
    for text in more_questions(topic):
        assert text == text.strip(), text
        assert text[-1] in "?.:", text
    others = {words_of(text) for other in TOPICS if other != topic for _, text in phrasings(other, "all")}
    assert not {words_of(text) for text in more_questions(topic)} & others


@pytest.mark.parametrize("topic", TOPICS)
def test_every_sentence_says_the_same(topic):
    assert len({frozenset(places(text) - {"m", "meters"}) for text in sentences(topic, "all")}) == 1
    assert sentences(topic, "core") == sentences(topic, "held_out") == (ALL_TEMPLATES[topic].answer,)


@pytest.mark.parametrize("topic", [one for one in TOPICS if one.startswith("relative_position")])
def test_every_question_of_order_names_the_viewpoint(topic):
    viewpoint = ("view", "camera", "image", "photo", "picture", "shot", "scene", "frame", "line of sight")
    for which in ("all", "held_out"):
        for _, text in phrasings(topic, which):
            assert any(word in text.lower() for word in viewpoint), text


def test_the_published_long_answer_is_among_the_sentences():
    assert "The {a} is with the length of {x} {m}, width of {y} {m}, and height of {z} {m}." in sentences(
        "scale_estimation/size", "all"
    )


def content(text: str) -> set[str]:
    """The words of a wording that are no places."""
    return set(words_of(re.sub(r"\{\w+\}", "", text)))


@pytest.mark.parametrize("topic", TOPICS)
def test_no_line_of_the_wordings_shares_seven_tenths_of_its_words_with_a_held_out_one(topic):
    for text in more_questions(topic):
        for held_out in HELD_OUT_QUESTIONS[topic]:
            one, other = content(text), content(held_out)
            assert len(one & other) <= 0.7 * len(one | other), (text, held_out)


@pytest.mark.parametrize("topic", TOPICS)
def test_names_stand_behind_an_article_and_no_other_thing_is_named(topic):
    names = {form for name in (*COMMON_CATEGORIES, *CATEGORIES) for form in (name.lower(), plural(name).lower())}
    names -= {"picture", "pictures", "box"}  # of which the question itself speaks
    thing = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b")
    for text in more_questions(topic):
        assert not re.search(r"(?<![Tt]he )\{[abc]\}", text), text
        assert not thing.search(re.sub(r"\{\w+\}", "", text).lower()), text
