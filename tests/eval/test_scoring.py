"""The strict rules of MSMU, intervals, and the constant that needs no eyes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.constant import ConstantAnswers
from sdvlm.eval.scoring import DELTA, Outcome, delta_ratio, is_right, tally, wilson


def metres(*values: float) -> TypedAnswer:
    kind = AnswerKind.LENGTH if len(values) == 1 else AnswerKind.LENGTHS
    return TypedAnswer(kind, values, "m")


def point(x: float, y: float) -> TypedAnswer:
    return TypedAnswer(AnswerKind.POINT, (x, y))


@pytest.mark.parametrize(
    ("said", "true", "right"),
    [
        (4, 5, False),  # exactly 1.25: published rule is strictly below
        (5, 4, False),
        (5, 6, True),
        (4.4, 5.5, False),  # 1.25 again, though not in binary
        (0, 5, False),
        (5, 0, False),
        (1, 1, True),
        (1, 1.2499, True),
    ],
)
def test_a_length_passes_below_a_ratio_of_five_fourths(said, true, right):
    assert is_right(metres(said), metres(true)) is right


def test_the_ratio_is_the_same_both_ways_and_under_any_unit():
    rng = np.random.default_rng(0)
    for a, b, scale in rng.uniform(0.01, 10, (100, 3)):
        assert delta_ratio(a, b) == delta_ratio(b, a)
        assert delta_ratio(a * scale, b * scale) == pytest.approx(delta_ratio(a, b))


def test_every_item_of_a_list_has_to_pass():
    assert is_right(metres(1.0, 1.0), metres(1.0, 1.2))
    assert not is_right(metres(1.0, 1.0), metres(1.0, 1.4))  # passes officially: the mean ratio is 1.2


def test_a_list_needs_as_many_items_as_the_truth():
    assert not is_right(metres(1.0), metres(1.0, 1.0))
    assert not is_right(metres(1.0, 1.0, 1.0), metres(1.0, 1.0))


@pytest.mark.parametrize(
    ("off", "right"), [((0.1, 0.1), True), ((0.0, 0.2), True), ((0.15, 0.15), False), ((0.0, 0.21), False)]
)
def test_a_point_passes_within_a_tenth_on_average(off, right):
    for x, y in ((0.3, 0.6), (0.5, 0.5), (0.72, 0.28)):
        assert is_right(point(x + off[0], y - off[1]), point(x, y)) is right


def test_counts_and_words_have_to_be_equal():
    count = TypedAnswer(AnswerKind.COUNT, (5,))
    assert is_right(TypedAnswer(AnswerKind.COUNT, (5.0,)), count)
    assert not is_right(TypedAnswer(AnswerKind.COUNT, (6,)), count)  # passes officially: the ratio is 1.2
    name = TypedAnswer(AnswerKind.NAME, ("wooden table",))
    assert is_right(TypedAnswer(AnswerKind.NAME, ("The Wooden table.",)), name)
    assert not is_right(TypedAnswer(AnswerKind.NAME, ("table",)), name)
    assert not is_right(TypedAnswer(AnswerKind.YES_NO, ("no",)), TypedAnswer(AnswerKind.YES_NO, ("yes",)))


def test_another_kind_and_no_answer_are_wrong():
    assert not is_right(TypedAnswer(AnswerKind.COUNT, (1,)), metres(1.0))
    assert not is_right(None, metres(1.0))


@pytest.mark.parametrize("text", ["150 cm", "1.5 m", "1500 mm", "59 inches", "4.9 feet", "1.5"])
def test_the_unit_of_a_reply_does_not_change_its_score(text):
    assert is_right(parse_answer(text, "absolute_distance"), metres(1.5))
    assert not is_right(parse_answer(text, "absolute_distance"), metres(2.0))


def test_the_wilson_interval_solves_its_defining_equation():
    z = 1.959964
    for right, asked in ((0, 10), (3, 10), (10, 10), (470, 987)):
        for bound in wilson(right, asked):
            if 0 < bound < 1:
                assert abs(right / asked - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / asked), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_wilson_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = [low <= 0.3 <= high for low, high in (wilson(int(k), 200) for k in rng.binomial(200, 0.3, 2000))]
    assert 0.93 < np.mean(inside) < 0.97


def test_macro_weighs_families_and_overall_weighs_questions():
    outcomes = [Outcome(QuestionType.COUNT, True)] * 3 + [Outcome(QuestionType.COUNT, False, parsed=False)]
    outcomes += [Outcome(QuestionType.ZERO, False)] * 2
    board = tally(outcomes)
    assert board.macro == pytest.approx((0.75 + 0) / 2)
    assert board.overall.rate == pytest.approx(3 / 6)
    assert board.families[QuestionType.COUNT].unparsed == 1
    low, high = board.macro_interval
    assert low < board.macro < high
    assert board.to_dict()["families"]["count"]["asked"] == 4


def sample(kind: QuestionType, answer: TypedAnswer, names: tuple[str, ...] = ("chair",)) -> QuestionSample:
    return QuestionSample("?", "!", kind, answer, tuple(range(1, len(names) + 1)), names, "a/b/0")


def _right_share(baseline: ConstantAnswers, samples) -> float:
    return float(np.mean([is_right(baseline.answer(one), one.answer_typed) for one in samples]))


def test_the_constant_is_as_good_as_the_best_of_a_fine_sweep():
    rng = np.random.default_rng(2)
    heights = np.exp(rng.normal(0, 0.5, 300)).round(2)
    samples = [sample(QuestionType.SCALE_ESTIMATION, replace(metres(h), definition="height")) for h in heights]
    sweep = max(
        np.mean(np.maximum(c / heights, heights / c) < DELTA) for c in np.linspace(heights.min(), heights.max(), 3000)
    )
    assert _right_share(ConstantAnswers(samples), samples) >= sweep - 0.01


def test_definitions_have_their_own_constants():
    wide = [sample(QuestionType.SCALE_ESTIMATION, replace(metres(1.0), definition="width"))] * 5
    tall = [sample(QuestionType.SCALE_ESTIMATION, replace(metres(3.0), definition="height"))] * 5
    assert _right_share(ConstantAnswers(wide + tall), wide + tall) == 1.0


def test_the_constant_of_a_choice_is_a_place_in_the_order_of_mention():
    names = [("chair", "table"), ("lamp", "bed"), ("sofa", "box")]
    some = [
        sample(QuestionType.SCALE_COMPARE, TypedAnswer(AnswerKind.NAME, (pair[1],), None, "tallest"), pair)
        for pair in names
    ]
    assert _right_share(ConstantAnswers(some), some) == 1.0


def test_the_commonest_word_is_the_constant_of_words():
    verdicts = ["yes"] * 3 + ["no"] * 2
    some = [sample(QuestionType.ZERO, TypedAnswer(AnswerKind.YES_NO, (v,), None, "visible")) for v in verdicts]
    assert _right_share(ConstantAnswers(some), some) == pytest.approx(0.6)


def test_a_kind_never_seen_has_no_constant():
    assert ConstantAnswers([]).answer(sample(QuestionType.COUNT, TypedAnswer(AnswerKind.COUNT, (2,)))) is None
