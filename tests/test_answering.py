import pytest

from sdvlm.answering import Reply, ask, read_reply
from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.types import SdvlmError


@pytest.mark.parametrize(
    ("question", "text", "kind", "values"),
    [
        ("How far is the chair?", "1.25 m", "length", (1.25,)),
        ("How far is the chair?", "The chair is 150 cm away.", "length", (1.5,)),
        ("How many chairs are there?", "3", "count", (3,)),
        ("How many chairs are there?", "There are two chairs.", "count", (2,)),
        ("How many meters is it to the door?", "2.10 m", "length", (2.1,)),
        ("What is the size of the bed?", "2.00 m x 1.60 m x 0.50 m", "lengths", (2.0, 1.6, 0.5)),
        ("Where is the lamp?", "(0.25,0.75)", "point", (0.25, 0.75)),
        ("What is at (0.25,0.75)?", "red lamp", "name", ("red lamp",)),
        ("Is there a piano?", "No", "yes_no", ("no",)),
        ("Is the bed left of the door?", "Yes, it is.", "yes_no", ("yes",)),
        ("On which side of the bed is the door?", "left", "direction", ("left",)),
        ("Which is taller, the bed or the door?", "the door", "name", ("door",)),
    ],
)
def test_a_reply_is_read_by_what_was_asked_and_what_it_looks_like(question, text, kind, values):
    answer = read_reply(question, text)
    assert answer.kind == kind
    assert answer.values == pytest.approx(values) if isinstance(values[0], float) else answer.values == values
    assert answer.unit == ("m" if kind.startswith("length") else None)


@pytest.mark.parametrize("text", ["", "umberumberumber", "I cannot determine that from the image."])
def test_what_says_nothing_is_not_read_as_a_value(text):
    assert read_reply("How far is the chair?", text) is None


def test_one_value_stands_alone_several_are_a_list_and_none_is_null():
    def value(kind, values, unit=None):
        return Reply("q", "a", TypedAnswer(kind, values, unit)).to_dict()["value"]

    assert value(AnswerKind.LENGTH, (1.5,), "m") == 1.5
    assert value(AnswerKind.LENGTHS, (1.5, 2.0), "m") == [1.5, 2.0]
    assert value(AnswerKind.COUNT, (0,)) == 0
    empty = {"question": "q", "answer": "a", "value": None, "unit": None, "type": None, "token_ids": []}
    assert Reply("q", "a", None).to_dict() == empty


@pytest.mark.parametrize(("questions", "said"), [([], "at least one"), (["a", " "], "question 2 is empty")])
def test_questions_have_to_ask_something(questions, said):
    with pytest.raises(SdvlmError, match=said):
        ask(None, None, None, questions)
