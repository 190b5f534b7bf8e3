"""Lengths in text, multiplied: checked against the reader of lengths that scores answers, which is another one."""

from __future__ import annotations

import numpy as np
import pytest

from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.questions import ask_all
from sdvlm.data.scale_lengths import scale_lengths
from sdvlm.data.schema import AnswerKind
from sdvlm.data.select import select
from sdvlm.eval.lengths import find_lengths

UNITS = ("m", "cm", "mm", "ft", "in")


def test_lengths_read_back_from_built_answers_are_multiplied(make_room):
    checked = 0
    for seed in range(4):
        config = QuestionConfig(per_frame=40, units=UNITS, phrasing="all")
        for sample in ask_all(select(make_room(seed).observe()), np.random.default_rng(seed), config):
            if sample.answer_typed.kind not in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
                continue
            scaled = scale_lengths(sample.answer, 1.37)
            assert scaled is not None, sample.answer
            before, after = find_lengths(sample.answer), find_lengths(scaled.text)
            assert [one.metres for one in before] == pytest.approx(list(scaled.before), rel=1e-6)
            assert [one.metres for one in after] == pytest.approx(list(scaled.after), rel=1e-6)
            assert [one.metres * 1.37 for one in before] == pytest.approx(list(scaled.after), rel=0.051)
            assert set(sample.answer_typed.numbers) <= set(scaled.before)
            checked += 1
    assert checked > 30


SAID = {
    "It is 1.20 m tall.": "It is 2.40 m tall.",
    "about 120 cm or 4.0 feet": "about 240 cm or 8.0 feet",
    "0.8 x 0.6 x 0.5 m": "1.6 x 1.2 x 1.0 m",
    "0.8, 0.6 and 0.5 meters": "1.6, 1.2 and 1.0 meters",
    "1 to 2 m away": "2 to 4 m away",
    "72.4 in.": "144.8 in.",
    "a 1.5-meter gap and 3 chairs": "a 3.0-meter gap and 3 chairs",
    "There are 2 in the picture at (0.25,0.75).": "There are 2 in the picture at (0.25,0.75).",
    "6 ft 2 in": "12 ft 4 in",
    "100 yards, 2 km": "200 yards, 4 km",
    "5 M people, 12 minutes": "5 M people, 12 minutes",
    "Nothing here.": "Nothing here.",
}


@pytest.mark.parametrize("text", SAID)
def test_only_lengths_change_and_each_in_its_own_unit_and_decimals(text):
    scaled = scale_lengths(text, 2.0)
    assert scaled is not None
    assert scaled.text == SAID[text]


GIVEN_UP = [
    "two meters away", "half a metre", "a foot away", "an area of 12 square meters", "12 m² of floor", "12 m2",
    "moves at 3 m/s", "5'10\" tall", "1,840 mm", "1/2 m", "1,5 m", "a few inches",
]  # fmt: skip


@pytest.mark.parametrize("text", GIVEN_UP)
def test_a_length_that_cannot_be_multiplied_in_place_gives_the_text_up(text):
    assert scale_lengths(text, 2.0) is None


def test_too_few_decimals_for_the_new_value_give_the_text_up():
    assert scale_lengths("3 m", 1.4) is not None  # 4.2 is said as 4: 4.8 % off
    assert scale_lengths("3 m", 1.5) is None  # 4.5 would be said as 4
    assert scale_lengths("0.02 m", 0.6) is None
    assert scale_lengths("3 m", 1.5, largest_rounding=0.2).text == "4 m"


def test_other_numbers_are_counted():
    assert scale_lengths("chair 2 is 1.5 m from (0.25,0.75)", 2.0).bare == 2
