"""A scaled question is the question about a world that is so much larger: only lengths change, and all of them do."""

import re

from sdvlm.ablation.lengths import scaled_question
from sdvlm.ablation.rooms import Rooms
from sdvlm.data.schema import AnswerKind
from sdvlm.eval.answers import parse_answer
from sdvlm.eval.scoring import is_right


def said(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"(\d+\.\d\d) m", text)]


def test_every_length_is_multiplied_and_nothing_else(rooms: Rooms) -> None:
    changed = 0
    for asked in rooms.questions:
        for sample in asked:
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


def test_a_factor_of_one_leaves_the_question_as_it_is(rooms: Rooms) -> None:
    for asked in rooms.questions:
        for sample in asked:
            assert scaled_question(sample, 1.0) in (sample, None)


def test_what_does_not_fit_two_decimals_before_ten_metres_is_left_out(rooms: Rooms) -> None:
    sample = next(one for asked in rooms.questions for one in asked if one.answer_typed.kind is AnswerKind.LENGTH)
    assert scaled_question(sample, 10 / sample.answer_typed.numbers[0]) is None
    assert scaled_question(sample, 0.044 / sample.answer_typed.numbers[0]) is None
