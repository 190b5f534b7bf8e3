"""Names that mean one object and no other."""

from __future__ import annotations

import numpy as np
import pytest

from sdvlm.data.categories import COMMON_CATEGORIES, may_be_called, may_be_taken_for, plural, with_article
from sdvlm.data.colors import ColorWords
from sdvlm.data.facts import collect_facts
from sdvlm.data.names import NameConfig, name_objects
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.select import SelectConfig, select
from sdvlm.data.verify import denoted_ids, recompute
from sdvlm.scenes.scene import SceneObject
from sdvlm.types import Box3D, Camera

CAMERA = Camera.from_fov(160, 120, 70)
LOOK_ALONG_Y = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1], [0, 0, 0, 1]])


def row(*things: tuple[str, str | None], depth: float = 4.0):
    """Cubes from left to right, (category, colour), and their colour words."""
    objects, colors = [], {}
    for k, (category, color) in enumerate(things):
        x = 1.1 * (k - (len(things) - 1) / 2)
        objects.append(SceneObject(k + 1, category, Box3D(np.array([x, depth, 1.0]), np.full(3, 0.6))))
        if color is not None:
            colors[k + 1] = ColorWords(color, frozenset({color}))
    return objects, colors


@pytest.fixture
def names_of(draw_boxes):
    def run(*things, config=None):
        objects, colors = row(*things)
        return name_objects(select(draw_boxes(objects, colors, CAMERA, LOOK_ALONG_Y).observe(), config))

    return run


@pytest.mark.parametrize("seed", range(120))
def test_every_name_means_its_object_alone(make_room, seed):
    selection = select(make_room(seed).observe())
    for instance, names in name_objects(selection).items():
        for name in (*names.plain, *names.placed):
            assert denoted_ids(name, selection.observation) == {instance}, name


def test_the_only_one_of_its_kind_goes_by_its_category_and_its_colour(names_of):
    assert names_of(("chair", "red"), ("table", "brown"))[1].plain == ("chair", "red chair")


def test_colour_tells_two_of_a_kind_apart(names_of):
    names = names_of(("chair", "red"), ("chair", "blue"))
    assert names[1].plain == ("red chair",)
    assert names[2].plain == ("blue chair",)


def test_position_tells_two_of_one_colour_apart(names_of):
    names = names_of(("chair", "red"), ("chair", "red"))
    assert names[1].plain == ()
    assert names[1].placed == ("leftmost chair",)
    assert names[2].placed == ("rightmost chair",)


def test_the_middle_one_of_three_alike_has_no_name(names_of):
    assert set(names_of(("chair", "red"), ("chair", "red"), ("chair", "red"))) == {1, 3}


def test_a_position_among_those_of_its_colour_helps_where_colour_alone_does_not(names_of):
    names = names_of(("chair", "blue"), ("chair", "red"), ("chair", "red"), ("chair", "blue"))
    assert names[2].placed == ("leftmost red chair",)


def test_a_colour_that_another_one_might_have_does_not_tell_apart(draw_boxes):
    objects, colors = row(("chair", "red"), ("chair", None))
    colors[2] = ColorWords(None, frozenset({"red", "brown"}))
    names = name_objects(select(draw_boxes(objects, colors, CAMERA, LOOK_ALONG_Y).observe()))
    assert names[1].plain == ()


def test_one_of_unknown_colour_makes_every_colour_ambiguous(names_of):
    assert names_of(("chair", "red"), ("chair", None))[1].plain == ()


def test_a_kind_of_chair_makes_the_word_chair_ambiguous_but_not_its_own(names_of):
    names = names_of(("chair", "red"), ("armchair", "red"))
    assert "chair" not in names[1].plain
    assert names[2].plain == ("armchair", "red armchair")


def test_an_object_that_is_seen_but_not_kept_still_makes_a_name_ambiguous(names_of):
    names = names_of(("chair", None), ("lamp", None), config=SelectConfig(excluded_categories=frozenset({"lamp"})))
    assert names[1].plain == ("chair",)
    names = names_of(("sofa", None), ("couch", None), config=SelectConfig(excluded_categories=frozenset({"couch"})))
    assert names[1].plain == ()


@pytest.mark.parametrize(
    ("category", "word", "called", "taken"),
    [
        ("chair", "chair", True, True),
        ("office chair", "chair", True, True),
        ("chair", "office chair", False, True),
        ("sofa", "couch", True, True),
        ("dresser", "cabinet", False, True),
        ("desk", "table", False, True),
        ("chairs", "chair", True, True),
        ("lamp", "table", False, False),
        ("bed", "chair", False, False),
    ],
)
def test_words_for_other_things_are_known(category, word, called, taken):
    assert may_be_called(category, word) is called
    assert may_be_taken_for(category, word) is taken


def test_what_may_be_called_so_may_be_taken_for_it():
    for a in COMMON_CATEGORIES:
        for b in COMMON_CATEGORIES:
            assert not may_be_called(a, b) or may_be_taken_for(a, b)


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("chair", "chairs"),
        ("box", "boxes"),
        ("couch", "couches"),
        ("bookshelf", "bookshelves"),
        ("coffee table", "coffee tables"),
        ("curtains", "curtains"),
        ("toy", "toys"),
        ("berry", "berries"),
        ("glass", "glasses"),
    ],
)
def test_plurals(noun, many):
    assert plural(noun) == many


def test_articles():
    assert with_article("chair") == "a chair"
    assert with_article("armchair") == "an armchair"
    assert with_article("orange box") == "an orange box"


@pytest.mark.parametrize(
    ("word", "there"),
    [
        ("bicycle", "bike"),
        ("lamp", "ceiling light"),
        ("picture", "photograph"),
        ("picture", "wall art"),
        ("trash can", "trashcan"),
        ("bed", "mattress"),
        ("keyboard", "laptop"),
        ("washing machine", "washer"),
        ("shelf", "shelving"),
        ("plant", "potted tree"),
        ("fireplace", "mantle"),
        ("refrigerator", "freezer"),
        ("printer", "copier"),
        ("couch", "futon"),
        ("monitor", "computer"),
    ],
)
def test_what_people_would_call_so_is_never_said_not_to_be_there(word, there):
    assert word in COMMON_CATEGORIES
    assert may_be_taken_for(there, word)


def test_where_labels_are_loose_a_wider_label_may_be_the_narrower_thing(draw_boxes):
    def names_in(*things, config=None):
        return name_objects(select(draw_boxes(*row(*things), CAMERA, LOOK_ALONG_Y).observe()), config)

    things = (("office chair", "red"), ("chair", "blue"), ("chair", "blue"))
    assert names_in(*things)[1].plain == ("office chair", "red office chair")
    loose = names_in(*things, config=NameConfig(loose_labels=True))
    assert loose[1].plain == ("red office chair",)
    assert "office chair" not in {name for one in loose.values() for name in one.plain}


def test_where_labels_are_loose_the_narrower_is_not_counted(draw_boxes):
    objects, colors = row(("office chair", "red"), ("chair", "blue"), ("table", "brown"))
    selection = select(draw_boxes(objects, colors, CAMERA, LOOK_ALONG_Y).observe())
    counts = {loose: dict(collect_facts(selection, {}, (), loose_labels=loose).counts) for loose in (False, True)}
    assert set(counts[False]) == {"office chair", "chair", "table"}
    assert set(counts[True]) == {"chair", "table"}
    assert counts[True]["chair"] == (1, 2)


def test_what_no_depth_confirms_may_be_seen_all_the_same(draw_boxes):
    """Two chairs and a table; the sensor does not reach the second chair: the first is not "the chair", nor "1."."""
    objects, colors = row(("chair", "red"), ("chair", "red"), ("table", "brown"))
    room = draw_boxes(objects, colors, CAMERA, LOOK_ALONG_Y)
    sensor = np.where(room.instances == 2, np.nan, room.depth_m)
    seen = room.observe(sensor_depth_m=sensor)
    assert [one.id for one in seen.objects] == [1, 3]
    assert [one.id for one in seen.unconfirmed] == [2]
    selection = select(seen)
    names = name_objects(selection, NameConfig(sizes=True))
    assert set(names) == {3}
    assert denoted_ids("chair", seen) == {1, 2}
    assert [category for category, _ in collect_facts(selection, names, ()).counts] == ["table"]
    assert recompute(count_of("chair", 1), seen).values == (-1,)


def test_the_colour_of_what_no_depth_confirms_may_tell_it_apart(draw_boxes):
    objects, colors = row(("chair", "red"), ("chair", "blue"))
    room = draw_boxes(objects, colors, CAMERA, LOOK_ALONG_Y)
    names = name_objects(select(room.observe(sensor_depth_m=np.where(room.instances == 2, np.nan, room.depth_m))))
    assert names[1].plain == ("red chair",)


def test_what_something_nearer_covers_is_hidden_and_not_unconfirmed(draw_boxes):
    objects, colors = row(("chair", "red"), ("chair", "red"))
    room = draw_boxes(objects, colors, CAMERA, LOOK_ALONG_Y)
    seen = room.observe(sensor_depth_m=np.where(room.instances == 2, 1.0, room.depth_m))
    assert seen.unconfirmed == ()
    assert name_objects(select(seen))[1].plain == ("chair", "red chair")
    away = room.observe(sensor_depth_m=np.where(room.instances == 2, 9.0, room.depth_m))
    assert [one.id for one in away.unconfirmed] == [2]  # glass, a mirror: the sensor looks through


def count_of(word: str, number: int) -> QuestionSample:
    return QuestionSample(
        f"How many {plural(word)} are there?",
        f"{number}.",
        QuestionType.COUNT,
        TypedAnswer(AnswerKind.COUNT, (number,), None, "visible_instances"),
        (1,),
        (word,),
        "count/number/0",
    )
