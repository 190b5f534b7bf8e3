"""Varied examples stay true: what is said follows the depth that is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.questions import ask_all
from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.data.select import select
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.scoring import is_right
from sdvlm.train.config import VarySettings
from sdvlm.train.example import GENERAL, Dialogue, Example
from sdvlm.train.reverse import reversed_depth, reversed_dialogue
from sdvlm.train.vary import scaled_dialogue, vary
from sdvlm.types import DepthKind, DepthMap

OF_LENGTH = (AnswerKind.LENGTH, AnswerKind.LENGTHS)
REVERSIBLE = ("nearer_than", "in_front_of", "behind", "nearest")


def ask(room, seed=0, **options):
    config = QuestionConfig(per_frame=60, units=("m", "cm", "ft"), depth_order=True, phrasing="all", **options)
    return ask_all(select(room.observe()), np.random.default_rng(seed), config)


def dialogue_of(sample):
    turns = (("user", sample.question), ("assistant", sample.answer))
    return Dialogue(turns, sample.type.value, sample.answer_typed, sample.names)


def example_of(dialogues, depth=None):
    depth = DepthMap(np.linspace(1, 5, 48).reshape(6, 8)) if depth is None else depth
    return Example("k", "made", tuple(dialogues), (np.zeros((6, 8, 3), np.uint8),), (depth,))


def general(*texts, answer=None, names=()):
    turns = tuple((("user", "assistant")[at % 2], text) for at, text in enumerate(texts))
    return Dialogue(turns, GENERAL, answer, names)


@pytest.fixture(scope="module")
def asked():
    """Questions of all families about rooms of boxes."""
    from tests.data.conftest import random_room

    return [sample for seed in range(20) for sample in ask(random_room(seed), seed)]


ALWAYS = {name: VarySettings(**{name: 1.0}) for name in ("depth_dropout", "scaled_depth", "reversed_depth")}


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.7])
def test_scaled_answers_are_right_for_a_room_that_much_larger(asked, factor):
    of_length = 0
    for sample in asked:
        scaled = scaled_dialogue(dialogue_of(sample), factor)
        if scaled is None:
            assert sample.answer_typed.kind in OF_LENGTH or sample.type == "refer_obj_estimation"
            continue
        question, answer = (text for _, text in scaled.turns)
        kind = sample.answer_typed.kind
        read = parse_answer(answer, sample.type, question=question, options=sample.names, kind=kind)
        assert is_right(read, scaled.answer)
        if sample.answer_typed.kind in OF_LENGTH:
            of_length += 1
            wanted = [value * factor for value in sample.answer_typed.numbers]
            assert list(scaled.answer.numbers) == pytest.approx(wanted, rel=0.051)
        else:
            assert scaled == dialogue_of(sample)
    assert of_length > 50


def test_by_one_nothing_changes(asked):
    for sample in asked:
        assert scaled_dialogue(dialogue_of(sample), 1.0) in (dialogue_of(sample), None)


LEFT_OUT = {
    "a length in words": general("How far?", "About two meters."),
    "a length without unit": general("How tall is it?", "1.20"),
    "an answer that says another value": general(
        "Q", "It is 2.00 m.", answer=TypedAnswer(AnswerKind.LENGTH, (3.0,), "m", "height")
    ),
    "one turn of several": general("How far?", "2.00 m", "And in words?", "Two meters."),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_cannot_be_scaled_for_sure_is_left_out(case):
    assert scaled_dialogue(LEFT_OUT[case], 1.3) is None
    kept = general("What is it?", "A chair.")
    varied = vary(example_of([LEFT_OUT[case], kept]), ALWAYS["scaled_depth"], np.random.default_rng(0))
    assert varied.dialogues == (kept,)


def test_depth_and_lengths_are_multiplied_by_the_same_factor_within_its_bounds():
    far = general("How far?", "100.00 m")
    settings = VarySettings(scaled_depth=1.0, largest_scale=1.5)
    factors = []
    for seed in range(200):
        varied = vary(example_of([far]), settings, np.random.default_rng(seed))
        factor = float(varied.dialogues[0].turns[1][1].split()[0]) / 100
        ratio = varied.depth[0].values / example_of([far]).depth[0].values
        assert np.allclose(ratio, factor, rtol=1e-4)
        factors.append(factor)
    assert 1 / 1.5 <= min(factors) < 0.72
    assert 1.4 < max(factors) <= 1.5
    assert abs(np.log(factors).mean()) < 0.05


def test_reversed_depth_exchanges_near_and_far_and_keeps_what_is_unknown():
    depth = DepthMap(np.array([[1.0, 4.0], [np.nan, 2.0]]))
    turned = reversed_depth(depth)
    assert np.array_equal(turned.values, np.array([[4.0, 1.0], [np.nan, 3.0]], np.float32), equal_nan=True)
    assert np.array_equal(reversed_depth(turned).values, depth.values, equal_nan=True)
    unknown = DepthMap(np.full((2, 2), np.nan))
    assert not reversed_depth(unknown).valid.any()


def test_reversed_answers_are_wrong_before_and_right_after(asked):
    turned = dict.fromkeys(REVERSIBLE, 0)
    for sample in asked:
        dialogue = dialogue_of(sample)
        other = reversed_dialogue(dialogue)
        if sample.answer_typed.definition not in REVERSIBLE or len(sample.names) != 2:
            assert other is None
            continue
        if other is None:
            continue
        turned[sample.answer_typed.definition] += 1
        assert reversed_dialogue(other).answer == dialogue.answer
        assert other.turns[0] == dialogue.turns[0]
        read = parse_answer(other.turns[1][1], sample.type, question=sample.question, options=sample.names)
        assert is_right(read, other.answer)
        assert not is_right(read, sample.answer_typed)
    assert min(turned.values()) > 3


SENTENCES = {
    "Yes, the a is closer to the camera than the b.": "No, the a is farther from the camera than the b.",
    "No, the a is farther from the camera than the b.": "Yes, the a is closer to the camera than the b.",
    "Yes, the a is in front of the b.": "No, the a is behind the b.",
    "Yes": "No",
    "no.": "yes.",
    "Yes, it is not behind the b.": None,
    "Yes, by 1.20 m, the a is closer to the camera.": None,
    "Certainly, the a is closer to the camera.": None,
}


@pytest.mark.parametrize("said", SENTENCES)
def test_verdicts_turn_with_the_relation_they_state_or_not_at_all(said):
    verdict = "no" if said.lower().startswith("no") else "yes"
    answer = TypedAnswer(AnswerKind.YES_NO, (verdict,), None, "nearer_than")
    turned = reversed_dialogue(general("Is the a closer than the b?", said, answer=answer, names=("a", "b")))
    assert (turned and turned.turns[1][1]) == SENTENCES[said]


NAMED = {
    ("The red chair is closer to the camera.", ("red chair", "table")): "The table is closer to the camera.",
    ("red chair", ("table", "red chair")): "table",
    ("The red chair is closer than the table.", ("red chair", "table")): None,
    ("The red chair is closer.", ("red chair", "red chair")): None,
    ("The red chair is closer.", ("red chair", "shelves")): None,
    ("The red chair is closer.", ("red chair", "red chair on the left")): None,
    ("The red chair is closest.", ("red chair", "table", "lamp")): None,
}


@pytest.mark.parametrize(("said", "names"), NAMED)
def test_the_nearer_of_two_becomes_the_other_where_the_sentence_stays_right(said, names):
    answer = TypedAnswer(AnswerKind.NAME, ("red chair",), None, "nearest")
    turned = reversed_dialogue(general("Which is nearer?", said, answer=answer, names=names))
    assert (turned and turned.turns[1][1]) == NAMED[said, names]
    assert turned is None or turned.answer.values == (names[names[0] == "red chair"],)


@pytest.mark.parametrize("name", ALWAYS)
def test_an_example_that_a_change_leaves_nothing_of_stays_as_it_is(name):
    example = example_of([general("How far?", "Two meters.")])
    varied = vary(example, ALWAYS[name], np.random.default_rng(0))
    if name == "depth_dropout":
        assert varied.depth == (None,)
        assert varied.dialogues == example.dialogues
    else:
        assert varied is example


def test_lengths_are_not_scaled_with_depth_that_has_no_metres():
    relative = DepthMap(np.linspace(0, 1, 48).reshape(6, 8), DepthKind.RELATIVE)
    example = example_of([general("How far?", "2.00 m")], relative)
    assert vary(example, ALWAYS["scaled_depth"], np.random.default_rng(0)) is example


def test_without_depth_nothing_is_varied():
    example = replace(example_of([general("Q", "A")]), depth=(None,))
    for settings in ALWAYS.values():
        assert vary(example, settings, np.random.default_rng(0)) is example


def test_shares_come_out_as_set():
    yes = TypedAnswer(AnswerKind.YES_NO, ("yes",), None, "nearer_than")
    example = example_of([general("How far?", "100.00 m"), general("Q", "Yes", answer=yes, names=("a", "b"))])
    settings = VarySettings(depth_dropout=0.25, scaled_depth=0.3, reversed_depth=0.2)
    rng, seen = np.random.default_rng(0), {"gone": 0, "scaled": 0, "reversed": 0, "same": 0}
    for _ in range(4000):
        varied = vary(example, settings, rng)
        if varied is example:
            seen["same"] += 1
        elif varied.depth[0] is None:
            seen["gone"] += 1
        else:
            seen["reversed" if len(varied.dialogues) == 1 else "scaled"] += 1
    shares = {name: number / 4000 for name, number in seen.items()}
    assert shares == pytest.approx({"gone": 0.25, "scaled": 0.225, "reversed": 0.15, "same": 0.375}, abs=0.03)


def test_the_example_given_is_not_changed():
    example = example_of([general("How far?", "100.00 m")])
    values, dialogues = example.depth[0].values.copy(), example.dialogues
    vary(example, ALWAYS["scaled_depth"], np.random.default_rng(1))
    assert np.array_equal(example.depth[0].values, values)
    assert example.dialogues == dialogues
