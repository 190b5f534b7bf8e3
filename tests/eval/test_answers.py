"""A table of replies as models write them, and what they say."""

from __future__ import annotations

import pytest

from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.eval.answers import is_refusal, parse_answer, parse_kind
from sdvlm.eval.lengths import find_lengths
from sdvlm.eval.named_answers import normalise_name

LENGTH = {
    "0.8 m": 0.8,
    "0.8": 0.8,
    "1.5m.": 1.5,
    "150 cm": 1.5,
    "1500mm": 1.5,
    "1,500 mm": 1.5,
    "59.06 inches": 1.500124,
    "5 feet": 1.524,
    "5 ft 6 in": 1.6764,
    "5'6\"": 1.6764,
    "6 feet and 2 inches tall": 1.8796,
    "2 yards": 1.8288,
    "The wall shelves measures 0.37 meters in width.": 0.37,
    "the wall shelves measures 0.37 meters in width.": 0.37,
    "It is 0.37 in width.": 0.37,
    "12 in": 0.3048,
    "It is about two meters away.": 2.0,
    "two and a half metres": 2.5,
    "half a meter": 0.5,
    "approximately 1.2 meters": 1.2,
    "~1.2m": 1.2,
    "The chair is 2.34 m away from the camera, which is 7.7 feet.": 2.34,
    "1.5 meters (4.9 feet)": 1.5,
    "about 1.5 m (roughly 4.9 ft).": 1.5,
    "between 1 and 2 meters": 1.5,
    "1-2 m": 1.5,
    "1 to 1.5 meters": 1.25,
    "Chair 2 is 1.3 m away.": 1.3,
    "The chair is at 2.0 m and the table at 3.0 m, therefore the distance is 1.0 m.": 1.0,
    "The distance is 1.2 meters. Answer: 1.2 meters": 1.2,
    '"1.5"': 1.5,
    "**1.5 m**": 1.5,
    "Since the height of the bed is 0.81 m, i think the height of the table is 1.02 meters": 1.02,
    "Given that the bed is 0.81 m tall, the table is about 1.02 m tall.": 1.02,
    "The height of the door is 2 m.": 2.0,
    "A 3-meter gap.": 3.0,
    "1e-1 m": 0.1,
    "It's .5 m": 0.5,
}
NO_LENGTH = [
    "",
    "I cannot determine the distance from the image.",
    "It is quite far.",
    "The chair is 1.2 m tall and the table is 2.5 m tall.",
    "It is not possible to measure this.",
    "-1.5 m",
]
LENGTHS = {
    "0.8 m x 0.63 m x 0.55 m": (0.8, 0.63, 0.55),
    "The dark pillow is with the size of 0.8 m x 0.63 m x 0.55 m": (0.8, 0.63, 0.55),
    "0.8 x 0.63 x 0.55 m": (0.8, 0.63, 0.55),
    "80 × 63 × 55 cm": (0.8, 0.63, 0.55),
    "80cm x 63cm x 55cm": (0.8, 0.63, 0.55),
    "0.8 by 0.63 by 0.55 meters": (0.8, 0.63, 0.55),
    "is with the length of 2.28 m, width of 0.75 m, and height of 0.87 m": (2.28, 0.75, 0.87),
    "width 0.75 m, height 0.87 m, length 2.28 m": (2.28, 0.75, 0.87),
    "2.28 m long, 0.75 m wide and 0.87 m high": (2.28, 0.75, 0.87),
    "2.28 meters, 0.75 meters, 0.87 meters": (2.28, 0.75, 0.87),
    "The heights are 1.02 and 0.55 meters.": (1.02, 0.55),
    "1.02 m, 0.55 m": (1.02, 0.55),
    "Since the height of the bed is 0.81 m, i think the height of the table is 1.02 meters and "
    "the height of the nightstand is 0.55 meters": (1.02, 0.55),
    "[1.02, 0.55]": (1.02, 0.55),
    "The table is 1.02 m (3.3 ft) and the lamp is 0.5 m (1.6 ft).": (1.02, 0.5),
}
COUNT = {
    "2.": 2,
    "2": 2,
    "There are 4 chairs.": 4,
    "four": 4,
    "Four chairs": 4,
    "twenty-one": 21,
    "A couple of chairs": 2,
    "There is one chair in the image.": 1,
    "There is a chair.": 1,
    "a single chair": 1,
    "None.": 0,
    "There are no chairs in the image.": 0,
    "There are 2 red chairs and 1 blue chair, so the total is 3.": 3,
    "I see 3 chairs; yes, 3.": 3,
}
NO_COUNT = ["There are several chairs.", "2 red chairs and 1 blue chair", "I don't know.", "1.5"]
POINT = {
    "(0.72,0.28).": (0.72, 0.28),
    "(0.72, 0.28)": (0.72, 0.28),
    "[0.72, 0.28]": (0.72, 0.28),
    "The TV is at (0.72,0.28) in the image.": (0.72, 0.28),
    "x=0.72, y=0.28": (0.72, 0.28),
    "0.72, 0.28": (0.72, 0.28),
    "(72%, 28%)": (0.72, 0.28),
    "(.72,.28)": (0.72, 0.28),
    "(1,0)": (1.0, 0.0),
}
NO_POINT = ["(412, 215)", "top left", "(0.1,0.2) or (0.5,0.6)", "0.72"]
YES_NO = {
    "Yes": "yes",
    "yes.": "yes",
    "**Yes**, it is.": "yes",
    "Indeed, the bed is to the left of the curtain.": "yes",
    "That's correct.": "yes",
    "Correct": "yes",
    "True.": "yes",
    "It is.": "yes",
    "There is a chair in the image.": "yes",
    "I can see a chair.": "yes",
    "No doubt, it is.": "yes",
    "No": "no",
    "No, the bed is to the right of the curtain.": "no",
    "Nope": "no",
    "Incorrect, it is on the right.": "no",
    "It is not.": "no",
    "It isn't visible.": "no",
    "There is no sofa in the image.": "no",
    "There isn't any sofa.": "no",
    "I don't see any chair.": "no",
    "I do not see one": "no",
    "False": "no",
    "In fact both are visible. Answer: no": "no",
    "Not at all.": "no",
}
NO_YES_NO = [
    "Maybe.",
    "Yes and no.",
    "I am not sure.",
    "It is not possible to determine.",
    "The chair.",
    "I can't tell.",
]
DIRECTION = {
    "left": "left",
    "The chair is to the right of the table.": "right",
    "On the left side.": "left",
    "to the left, not the right": "left",
    "Right": "right",
}
NO_DIRECTION = ["Either left or right.", "above", ""]
NAME = {
    "the brown cabinet.": "brown cabinet",
    "The brown cabinet": "brown cabinet",
    "The wooden table is taller.": "wooden table",
    "The wooden table is taller than the chair.": "wooden table",
    "The tallest is the curtain.": "curtain",
    "The tallest one among them is the curtain.": "curtain",
    "It is the brown cabinet.": "brown cabinet",
    "It's a lamp": "lamp",
    "There is a brown cabinet at (0.97,0.6).": "brown cabinet",
    "The object located at (0.97,0.6) is the brown cabinet.": "brown cabinet",
    "The lamp is closer to the camera.": "lamp",
    "The closest is the trash can.": "trash can",
    "the lamp is located at the position (0.5,0.5)": "lamp",
}


def _same(parsed, kind, values):
    assert parsed is not None
    assert parsed.kind is kind
    assert parsed.values == pytest.approx(values, rel=1e-5)


@pytest.mark.parametrize(("text", "metres"), LENGTH.items())
def test_a_length_is_read_in_metres(text, metres):
    _same(parse_answer(text, "absolute_distance"), AnswerKind.LENGTH, (metres,))


@pytest.mark.parametrize(("text", "metres"), LENGTHS.items())
def test_several_lengths_are_read_in_the_order_length_width_height(text, metres):
    _same(parse_kind(text, AnswerKind.LENGTHS), AnswerKind.LENGTHS, metres)


@pytest.mark.parametrize(("text", "number"), COUNT.items())
def test_a_count_is_read(text, number):
    _same(parse_answer(text, "count"), AnswerKind.COUNT, (number,))


@pytest.mark.parametrize(("text", "point"), POINT.items())
def test_a_point_is_read(text, point):
    _same(parse_answer(text, "position", question="Where is the TV?"), AnswerKind.POINT, point)


@pytest.mark.parametrize(("text", "verdict"), YES_NO.items())
def test_yes_and_no_are_read(text, verdict):
    assert parse_answer(text, "zero") == TypedAnswer(AnswerKind.YES_NO, (verdict,))


@pytest.mark.parametrize(("text", "side"), DIRECTION.items())
def test_left_and_right_are_read(text, side):
    question = "Is the chair left or right of the table?"
    parsed = parse_answer(text, "relative_position", question=question)
    assert parsed == TypedAnswer(AnswerKind.DIRECTION, (side,))


@pytest.mark.parametrize(("text", "name"), NAME.items())
def test_a_name_is_read(text, name):
    assert parse_answer(text, "scale_compare") == TypedAnswer(AnswerKind.NAME, (name,))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (text, kind)
        for kind, texts in {
            AnswerKind.LENGTH: NO_LENGTH,
            AnswerKind.COUNT: NO_COUNT,
            AnswerKind.POINT: NO_POINT,
            AnswerKind.YES_NO: NO_YES_NO,
            AnswerKind.DIRECTION: NO_DIRECTION,
        }.items()
        for text in texts
    ],
)
def test_what_cannot_be_read_is_none(text, kind):
    assert parse_kind(text, kind) is None


@pytest.mark.parametrize(
    "unit", [("m", 1), ("meters", 1), ("cm", 0.01), ("mm", 0.001), ("inches", 0.0254), ("feet", 0.3048)]
)
@pytest.mark.parametrize("number", [1, 2.5, 137.25])
def test_a_unit_scales_the_number(unit, number):
    (length,) = find_lengths(f"It measures {number} {unit[0]} across.")
    assert length.metres == pytest.approx(number * unit[1])


def test_a_scale_question_is_answered_by_one_length_or_by_three():
    one = parse_answer("The table measures 0.75 meters in width.", QuestionType.SCALE_ESTIMATION)
    three = parse_answer("0.8 m x 0.63 m x 0.55 m", QuestionType.SCALE_ESTIMATION)
    assert one.kind is AnswerKind.LENGTH
    assert three.kind is AnswerKind.LENGTHS


def test_the_question_tells_a_name_from_a_point():
    asked = "What object is located at (0.97,0.6)?"
    assert parse_answer("the object at (0.97,0.6) is a lamp", "position", question=asked).values == ("lamp",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The red chair is taller than the chair.", "red chair"),
        ("I would say the lamp.", "lamp"),
        ("Clearly the red chair, as it reaches higher.", "red chair"),
        ("Compared with the lamp, hmm, both the lamp and the red chair", "lamp"),
        ("both the lamp and the red chair", None),
        ("the sofa", None),
    ],
)
def test_options_decide_which_name_was_chosen(text, name):
    parsed = parse_answer(text, "scale_compare", options=["the lamp", "red chair", "chair"])
    assert (parsed.values[0] if parsed else None) == name


def test_refusals_are_told_from_answers():
    assert is_refusal("I'm sorry, but I cannot measure distances in images.")
    assert is_refusal("The distance cannot be determined from this picture.")
    assert not is_refusal("The chair is 2 m away.")


def test_names_are_compared_without_article_case_and_punctuation():
    assert normalise_name(" The  Wooden table. ") == "wooden table"
