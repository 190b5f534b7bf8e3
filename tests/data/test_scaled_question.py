"""A scaled question is the question about a world that is so much larger: only lengths change, and all of them do."""

import re

import numpy as np
import pytest

from sdvlm.data.questions import QuestionConfig
from sdvlm.data.scaled_question import scaled_question
from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.scoring import is_right
from sdvlm.nano.exam import held_out_exam
from sdvlm.nano.frames import room_views


@pytest.fixture(scope="module")
def samples() -> list[QuestionSample]:
    return [question for _, asked in held_out_exam(80, seed=512_000) for question in asked]


def said(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"(\d+\.\d\d) m", text)]


def test_every_length_is_multiplied_and_nothing_else(samples: list[QuestionSample]) -> None:
    changed = 0
    for sample in samples:
        scaled = scaled_question(sample, 1.5)
        if scaled is None:
            assert any(one < 0.05 or one * 1.5 >= 10 for one in said(sample.answer) + said(sample.question))
            continue
        for before, after in ((sample.question, scaled.question), (sample.answer, scaled.answer)):
            assert [round(one * 1.5, 2) for one in said(before)] == said(after)
            assert re.sub(r"\d+\.\d\d m", "", before) == re.sub(r"\d+\.\d\d m", "", after)
        read = parse_answer(scaled.answer, scaled.type, question=scaled.question, options=scaled.names)
        assert is_right(read, scaled.answer_typed)
        of_length = sample.answer_typed.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS)
        assert is_right(read, sample.answer_typed) is not of_length
        changed += of_length
    assert changed > 5


def test_a_sentence_that_repeats_the_reference_is_scaled_too() -> None:
    views = room_views(np.random.default_rng(5), 8, 1, QuestionConfig(per_frame=40))
    questions = [one for _, _, asked in views for one in asked]
    sentences = [
        one for one in questions if one.type is QuestionType.REFER_OBJ_ESTIMATION and len(said(one.answer)) > 1
    ]
    scaled = [(one, scaled_question(one, 1.5)) for one in sentences]
    assert sum(after is not None for _, after in scaled) > 0.5 * len(scaled) > 3
    for before, after in scaled:
        if after is not None:
            np.testing.assert_allclose(
                after.answer_typed.numbers, 1.5 * np.array(before.answer_typed.numbers), atol=0.006
            )
            read = parse_answer(after.answer, after.type, question=after.question, options=after.names)
            assert is_right(read, after.answer_typed)


def test_a_factor_of_one_leaves_the_question_as_it_is(samples: list[QuestionSample]) -> None:
    for sample in samples:
        assert scaled_question(sample, 1.0) in (sample, None)


def test_what_does_not_fit_two_decimals_before_ten_metres_is_left_out(samples: list[QuestionSample]) -> None:
    sample = next(one for one in samples if one.answer_typed.kind is AnswerKind.LENGTH)
    assert scaled_question(sample, 10 / sample.answer_typed.numbers[0]) is None
    assert scaled_question(sample, 0.044 / sample.answer_typed.numbers[0]) is None
