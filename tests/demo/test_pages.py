import re
from html import escape

import numpy as np
import pytest

from sdvlm.answering import NANO, Reply
from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.demo.pages import ask_page, demo_overview, demo_page
from sdvlm.demo.room import make_demo_view
from sdvlm.demo.run import Asked, Judged
from sdvlm.demo.words import KIND_NAMES, ROOM_NAMES
from sdvlm.scenes.rooms import ROOM_KINDS
from sdvlm.types import DepthMap, RgbdFrame

BOXES = np.array([[x, y, x + 80, y + 80] for y in range(0, 480, 80) for x in range(0, 640, 80)] + [[np.nan] * 4])


@pytest.fixture(scope="module")
def view():
    return make_demo_view(3)


def test_the_page_shows_every_question_with_truth_and_both_answers(view):
    asked = [
        Asked(sample, Judged(f"with {index}", index % 2 == 0), Judged(f"bare {index}", False))
        for index, sample in enumerate(view.questions)
    ]
    html = demo_page(view, asked, [], BOXES, seed=3).to_html()
    assert html.count("<table>") == 1
    for index, sample in enumerate(view.questions):
        for said in (sample.question, sample.answer, f"with {index}", f"bare {index}"):
            assert escape(said) in html
    assert "6 right" in html
    assert "0 right" in html
    assert html.count("<img") == 4
    assert "48 image tokens" in html


def test_the_page_shows_the_room_of_another_size_in_a_table_of_its_own(view):
    other = [Asked(sample, Judged("near", True), Judged("far", False)) for sample in view.at_scale(0.6).questions]
    html = demo_page(view, [Asked(view.questions[0], Judged("a", True), Judged("b", False))], other, BOXES, 3).to_html()
    first, second = html.split("<table>")[1:]
    assert "1 questions" in first
    assert f"{len(other)} questions" in second
    for one in other:
        assert escape(one.sample.answer) in second


def test_the_page_says_plainly_what_nano_is_and_leaves_that_out_for_other_models(view):
    said = "on photographs its answers may be wrong"
    assert said in demo_page(view, [], [], BOXES, 3, NANO).to_html()
    other = demo_page(view, [], [], BOXES, 3, "org/large").to_html()
    assert said not in other
    assert "org/large" in other


def test_every_object_named_on_the_picture_is_named_in_the_words_for_it(view):
    html = demo_page(view, [], [], BOXES, 3).to_html()
    alts = " ".join(re.findall(r'alt="([^"]*)"', html))
    for name in view.names.values():
        assert escape(name) in alts


def test_the_overview_has_objects_left_and_depth_right(view):
    picture = demo_overview(view)
    assert picture.shape[1] == 1280
    assert picture.shape[0] < 700
    left, right = picture[:480, :640].astype(float), picture[:480, 640:].astype(float)
    assert np.abs(left - right).mean() > 20


def test_every_family_and_every_kind_of_room_has_a_name():
    assert set(KIND_NAMES) == set(QuestionType)
    assert set(ROOM_NAMES) == set(ROOM_KINDS)
    assert len(set(KIND_NAMES.values())) == len(QuestionType)


def test_the_page_of_ask_shows_values_notes_and_depth_only_where_there_is_some():
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    reply = Reply("How big?", "1 m x 2 m", TypedAnswer(AnswerKind.LENGTHS, (1.0, 2.0), "m"))
    bare = ask_page(RgbdFrame(image, name="a<b.jpg"), [reply], "m", ["be careful"]).to_html()
    assert "1 m, 2 m" in bare
    assert "be careful." in bare
    assert "a&lt;b.jpg" in bare
    assert bare.count("<img") == 1
    deep = ask_page(RgbdFrame(image, DepthMap(np.full((30, 40), 2.0))), [reply], "m", []).to_html()
    assert deep.count("<img") == 2
    assert "What to know" not in deep


def test_a_photograph_of_many_megapixels_does_not_make_a_page_of_many_megabytes():
    image = np.random.default_rng(0).integers(0, 255, (1500, 4000, 3)).astype(np.uint8)
    page = ask_page(RgbdFrame(image), [], "m", [])
    assert page.figures[0].image.shape == (600, 1600, 3)
