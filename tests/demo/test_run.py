import pytest

from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.demo.run import judge


def sample(family, truth, question="?", names=()):
    return QuestionSample(question, "", family, truth, tuple(range(1, len(names) + 1)), names, "t/t/0")


LENGTH = sample(QuestionType.ABSOLUTE_DISTANCE, TypedAnswer(AnswerKind.LENGTH, (2.0,), "m"))
SIZES = sample(QuestionType.SCALE_ESTIMATION, TypedAnswer(AnswerKind.LENGTHS, (2.0, 1.0, 0.5), "m"))
COMPARED = sample(QuestionType.SCALE_COMPARE, TypedAnswer(AnswerKind.NAME, ("red bed",)), names=("red bed", "door"))
FOUND = sample(
    QuestionType.POSITION, TypedAnswer(AnswerKind.NAME, ("red bed",)), "What is at (0.10,0.20)?", ("red bed",)
)
EXISTS = sample(QuestionType.ZERO, TypedAnswer(AnswerKind.YES_NO, ("no",)), "Is there a sink?", ("sink",))


@pytest.mark.parametrize(
    ("asked", "text", "right"),
    [
        (LENGTH, "2.3 m", True),
        (LENGTH, "2.6 m", False),
        (LENGTH, "230 cm", True),
        (LENGTH, "", False),
        (LENGTH, "I cannot tell", False),
        (SIZES, "2.1 m x 1.1 m x 0.5 m", True),
        (SIZES, "2.1 m x 1.1 m x 0.9 m", False),
        (SIZES, "2.1 m", False),
        (COMPARED, "The red bed is taller.", True),
        (COMPARED, "the door", False),
        (FOUND, "the red bed", True),
        (FOUND, "either the red bed or the blue sofa, or perhaps the green chair", False),
        (EXISTS, "No", True),
        (EXISTS, "Yes", False),
    ],
)
def test_an_answer_is_judged_by_the_strict_rule_of_its_family(asked, text, right):
    assert judge(asked, text).right is right
    assert judge(asked, text).text == text
