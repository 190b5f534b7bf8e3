"""What exams change, and what they leave."""

from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.units import UNITS
from sdvlm.eval.scaled_source import LARGEST_SCALE, SMALLEST_SCALE
from sdvlm.eval.scoring import delta_ratio
from sdvlm.nano.exam import (
    Exam,
    held_out_exam,
    in_units,
    metric_only,
    other_depth,
    poorer_depth,
    reworded,
    scaled,
    shuffled_depth,
)


@pytest.fixture(scope="module")
def exam() -> Exam:
    return held_out_exam(48, seed=510_000)


def test_reworded_questions_keep_their_answers_and_differ_in_every_word_order(exam: Exam) -> None:
    ways = reworded(exam)
    assert len(ways) == 5
    plain = [question for _, asked in exam for question in asked]
    for way in ways:
        other = [question for _, asked in way for question in asked]
        assert [replace(one, question="") for one in other] == [replace(one, question="") for one in plain]
        assert all(one.question != was.question for one, was in zip(other, plain, strict=True))
        for one in other:
            unnamed = one.template.startswith(("count", "position/object"))  # a plural, a point
            assert unnamed or all(name in one.question for name in one.names)


def test_other_units_are_asked_for_by_name_of_lengths_alone(exam: Exam) -> None:
    plain = metric_only(exam)
    asked = in_units(plain)
    assert {q.said_unit for _, questions in asked for q in questions} <= set(UNITS) - {"m"}
    for (_, before), (_, after) in zip(plain, asked, strict=True):
        for one, other in zip(before, after, strict=True):
            assert one.answer_typed == other.answer_typed
            assert UNITS[other.said_unit].word in other.question
            assert UNITS[other.said_unit].word not in one.question


def test_scaled_rooms_make_the_unscaled_answer_wrong(exam: Exam) -> None:
    by_question = {(id(frame.image), q.template, q.objects): q for frame, asked in exam for q in asked}
    lengths = 0
    for frame, asked in scaled(exam):
        for question in asked:
            before = by_question[id(frame.image), question.template, question.objects]
            if question.answer_typed.kind.value.startswith("length"):
                lengths += 1
                ratios = [
                    delta_ratio(a, b)
                    for a, b in zip(question.answer_typed.numbers, before.answer_typed.numbers, strict=True)
                ]
                assert SMALLEST_SCALE * 0.95 < min(ratios) <= max(ratios) < LARGEST_SCALE * 1.06
            else:
                assert question.answer_typed == before.answer_typed
    assert lengths > 5


def test_changed_depth_leaves_the_picture(exam: Exam) -> None:
    for change in (other_depth(exam), shuffled_depth, poorer_depth(0.3, 0.2)):
        frame = exam[0][0]
        shown = change(0, frame)
        assert shown.image is frame.image
        assert not np.array_equal(shown.depth.values, frame.depth.values, equal_nan=True)


def test_poorer_depth_has_the_noise_and_the_holes_it_says() -> None:
    frame = held_out_exam(8, seed=511_000)[0][0]
    noisy = poorer_depth(0.1, 0.0)(0, frame).depth.values - frame.depth.values
    assert np.nanstd(noisy) == pytest.approx(0.1, rel=0.05)
    holes = [float(np.isnan(poorer_depth(0.0, 0.2)(index, frame).depth.values).mean()) for index in range(30)]
    assert np.mean(holes) == pytest.approx(0.2, abs=0.03)
