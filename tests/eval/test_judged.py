"""Files that can be scored, in each of their layouts; what is wrong with others is told with its row."""

from __future__ import annotations

import json

import pytest

from sdvlm.data.schema import QuestionType
from sdvlm.eval.judged import JudgedAnswer, Prediction, read_scorable
from sdvlm.types import SdvlmError

JUDGED = [
    '{"model": "m"}\n',
    {"input": "?", "answer": '{"your_mark": 1}', "type": "zero"},
    {"input": "?", "answer": None, "type": "count"},
]
PREDICTED = [
    {"model": "m"},
    {"question": "<image>\nHow far?", "pred": "2 m", "gt": "2.1 m", "type": "distance"},
    {"question": "How many?", "pred": "", "gt": "2.", "type": "count"},
]
OURS = [
    {"number": 7, "type": "absolute_distance", "raw_type": "distance", "question": "How far?", "prompt": "p",
     "reference": "2.1 m", "answer": "2 m", "token_ids": [1], "seconds": 0.1},
    {"number": 9, "type": "count", "raw_type": "count", "question": "How many?", "prompt": "p", "reference": "2.",
     "answer": "", "token_ids": [], "seconds": 0.1},
]  # fmt: skip
PREDICTIONS = [
    Prediction(1, QuestionType.ABSOLUTE_DISTANCE, "How far?", "2.1 m", "2 m"),
    Prediction(2, QuestionType.COUNT, "How many?", "2.", ""),
]
ANSWERS = [JudgedAnswer(1, QuestionType.ZERO, '{"your_mark": 1}'), JudgedAnswer(2, QuestionType.COUNT, None)]


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (json.dumps(JUDGED), "m"),
        (json.dumps(JUDGED, indent=2), "m"),
        (json.dumps([{"model": "m"}, *JUDGED[1:]]), "m"),
        (json.dumps(["no JSON", *JUDGED[1:]]), None),
        (json.dumps([{"name": "m"}, *JUDGED[1:]]), None),
        (json.dumps(JUDGED[1:]), None),
        (lines(JUDGED), "m"),
        ("\ufeff" + json.dumps(JUDGED), "m"),
    ],
)
def test_judged_answers_are_read_in_every_layout(text, model, tmp_path):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    told = read_scorable(tmp_path / "x.json")
    assert (told.judged, told.predictions, told.model) == (ANSWERS, [], model)


@pytest.mark.parametrize("text", [lines(PREDICTED), lines(OURS), json.dumps(PREDICTED), lines(PREDICTED) + "\n"])
def test_predictions_are_read_in_every_layout(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    told = read_scorable(tmp_path / "x.json")
    assert (told.judged, told.predictions) == ([], PREDICTIONS)


def test_a_run_folder_is_its_answers(tmp_path):
    (tmp_path / "answers.jsonl").write_text(lines(OURS))
    told = read_scorable(tmp_path)
    assert (told.predictions, told.path) == (PREDICTIONS, tmp_path / "answers.jsonl")


def test_one_prediction_alone_is_a_list_of_one(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(OURS[0]))
    assert read_scorable(tmp_path / "x.json").predictions == PREDICTIONS[:1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.dumps([*JUDGED, {"answer": "1", "type": "existence"}]), "row 3: no question type 'existence'; known are"),
        (json.dumps([*JUDGED, {"answer": "1"}]), "row 3: no question type None"),
        (json.dumps([*JUDGED, 5]), "row 3: must be an object; got int"),
        (json.dumps([*JUDGED, PREDICTED[1]]), "row 3: judged answers and predictions are mixed"),
        (
            lines([*PREDICTED, {"question": "?", "pred": None, "gt": "x", "type": "zero"}]),
            "row 3: wanted text as 'pred'",
        ),
        (lines([*PREDICTED, {"question": "?", "type": "zero"}]), "row 3: wanted text as 'gt'"),
        (lines(PREDICTED) + "{torn", "line 4: is no JSON"),
        ("", "holds no answers"),
        ("[]", "holds no answers"),
        (lines(PREDICTED[:1]), "holds no answers"),
        ("7", "must hold a list of answers"),
    ],
)
def test_what_cannot_be_scored_is_told_in_one_line(text, told, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SdvlmError, match=f"x.json: {told}") as error:
        read_scorable(tmp_path / "x.json")
    assert "\n" not in str(error.value)


def test_what_is_no_file_of_text_is_told(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SdvlmError, match="is no UTF-8 text"):
        read_scorable(tmp_path / "x.json")
    with pytest.raises(SdvlmError, match="no such file"):
        read_scorable(tmp_path / "y.json")


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    reply = "2\u2028m\x85 and\x0c no more"
    (tmp_path / "x.jsonl").write_text(json.dumps({**OURS[0], "answer": reply}, ensure_ascii=False) + "\n" + lines(OURS))
    assert read_scorable(tmp_path / "x.jsonl").predictions[0].reply == reply
