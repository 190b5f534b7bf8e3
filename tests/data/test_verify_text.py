"""Texts that say something else than their typed answer are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.questions import QuestionConfig, ask_all
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.select import select
from sdvlm.data.units import UNITS
from sdvlm.data.verify import find_faults
from sdvlm.data.verify_text import find_text_faults, given_reference_m, rounding_of


def sample(question: str, answer: str, typed: TypedAnswer, kind=QuestionType.SCALE_ESTIMATION, unit="m", **extra):
    fields = {"objects": (1,), "names": ("chair",), "template": "x/y/0"} | extra
    return QuestionSample(question, answer, kind, typed, said_unit=unit, **fields)


def height(value: float) -> TypedAnswer:
    return TypedAnswer(AnswerKind.LENGTH, (value,), "m", "height")


@pytest.mark.parametrize(
    ("question", "answer", "value", "unit", "fault"),
    [
        ("How tall is the chair?", "The chair measures 0.80 meters in height.", 0.8, "m", None),
        ("How tall is the chair?", "0.80 m", 0.8, "m", None),
        ("How tall is the chair in feet?", "2.62 ft", 0.798576, "ft", None),
        ("How tall is the chair in inches?", "31.5 in", 0.8001, "in", None),
        ("How tall is the chair?", "0.81 m", 0.8, "m", "says"),
        ("How tall is the chair?", "80 cm", 0.8, "m", "without its unit"),
        ("How tall is the chair?", "2.62 ft", 0.798576, "ft", "does not ask for 'ft'"),
        ("How tall is the chair in feet?", "0.80 m", 0.8, "m", "does not ask for 'm' alone"),
        ("How tall is the chair in feet?", "2.62 ft", 0.8, "ft", "says"),
        ("How tall is it?", "0.80 m", 0.8, "m", "not in the text"),
    ],
)
def test_lengths(question, answer, value, unit, fault):
    faults = find_text_faults(sample(question, answer, height(value), unit=unit))
    assert faults == [] if fault is None else any(fault in one for one in faults)


def test_a_number_in_a_name_is_not_the_answer():
    one = sample("How tall is the 3 drawer chest?", "0.80 m", height(0.8), names=("3 drawer chest",))
    assert find_text_faults(one) == []


def test_a_reference_is_read_in_its_own_unit():
    one = sample(
        "The height of the bed is 81 cm, what is the height of the chair ? Answer in centimeters.",
        "Since the height of the bed is 81 cm, i think the height of the chair is 92 centimeters.",
        height(0.92),
        QuestionType.REFER_OBJ_ESTIMATION,
        "cm",
        objects=(2, 1),
        names=("bed", "chair"),
    )
    assert find_text_faults(one) == []
    assert given_reference_m(one) == pytest.approx(0.81)
    assert find_text_faults(replace(one, answer=one.answer.replace("81", "82"))) != []
    assert rounding_of(one) == pytest.approx(0.005, abs=1e-5)


@pytest.mark.parametrize(
    ("answer", "verdict", "right"),
    [
        ("Indeed, the a is to the left of the b.", "yes", True),
        ("No, the a is to the right of the b.", "no", True),
        ("Indeed, the a is to the right of the b.", "yes", False),
        ("No, the a is to the left of the b.", "no", False),
        ("Yes", "no", False),
        ("No", "no", True),
    ],
)
def test_a_verdict_and_its_side_belong_together(answer, verdict, right):
    typed = TypedAnswer(AnswerKind.YES_NO, (verdict,), None, "left_of")
    one = sample(
        "Is the a to the left of the b?",
        answer,
        typed,
        QuestionType.RELATIVE_POSITION,
        objects=(1, 2),
        names=("a", "b"),
    )
    assert (find_text_faults(one) == []) is right


def test_the_side_of_another_question_is_found():
    typed = TypedAnswer(AnswerKind.YES_NO, ("yes",), None, "right_of")
    one = sample("Is the a to the left of the b?", "Yes", typed, QuestionType.RELATIVE_POSITION, names=("a", "b"))
    assert any("ask for 'right'" in fault for fault in find_text_faults(one))


@pytest.mark.parametrize("unit", UNITS)
def test_every_spoilt_number_in_the_text_is_found(make_room, unit):
    config, spoilt = QuestionConfig(units=(unit,), phrasing="all", distance="both"), 0
    for seed in range(6):
        observation = make_room(seed).observe()
        for one in ask_all(select(observation), np.random.default_rng(seed), config):
            if one.answer_typed.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS, AnswerKind.COUNT, AnswerKind.POINT):
                digits = [k for k, sign in enumerate(one.answer) if sign.isdigit()]
                at = digits[-1]
                other = str((int(one.answer[at]) + 5) % 10)
                wrong = replace(one, answer=one.answer[:at] + other + one.answer[at + 1 :])
                assert find_faults(one, observation) == []
                assert find_faults(wrong, observation) != [], wrong.answer
                spoilt += 1
    assert spoilt > 30
