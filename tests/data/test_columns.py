"""A record becomes rows and comes back; rows are what the published trainer and our reader take."""

from __future__ import annotations

import base64
import io
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sdvlm.data.columns import arrow_schema, record_of, rows_of, split_row
from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.types import SdvlmError


def same(one, other) -> bool:
    """Whether two records agree in every field."""
    assert type(one) is type(other)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if not (np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b):
            return False
    return True


def through_arrow(rows):
    return pa.Table.from_pylist(rows, schema=arrow_schema()).to_pylist()


@pytest.mark.parametrize("options", [{}, {"depth": False}, {"pose": False}])
def test_a_record_comes_back_from_its_row_as_it_was(make_record, options):
    record = make_record("room", 3, **options)
    (row,) = through_arrow(rows_of(record))
    assert same(record_of(row), record)


def test_each_question_comes_back_from_a_row_of_its_own(make_record):
    record = make_record(questions=11)
    rows = through_arrow(rows_of(record, "question"))
    assert len(rows) == 11
    for row, sample in zip(rows, record.samples, strict=True):
        assert same(record_of(row), replace(record, samples=(sample,)))
        assert (row["type"], row["template"]) == (sample.type.value, sample.template)
        assert row["answer"]["definition"] == sample.answer_typed.definition


def test_a_picture_row_is_split_into_the_rows_of_its_questions(make_record):
    record = make_record()
    assert split_row(rows_of(record)[0]) == rows_of(record, "question")


def test_a_record_without_questions_has_no_row(make_record):
    assert rows_of(make_record(questions=0)) == []


@pytest.mark.parametrize("per", ["picture", "question"])
def test_rows_follow_the_access_pattern_of_the_published_trainer(make_record, per):
    record = make_record()
    for row in through_arrow(rows_of(record, per)):
        picture = Image.open(io.BytesIO(base64.b64decode(row["image_base64"])))
        assert picture.mode == row["image_mode"] == "RGB"  # it never converts
        assert list(picture.size) == row["image_size"]
        assert picture.tobytes() == Image.open(io.BytesIO(record.picture)).tobytes()
        turns = row["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert turns[0]["value"].startswith("<image>\n")
        assert sum(turn["value"].count("<image>") for turn in turns) == 1
        if per == "question":
            assert row["type"] in [kind.value for kind in QuestionType]


def test_a_chain_of_thought_is_said_in_training_and_left_out_of_references(make_record):
    record = make_record()
    said = [turn["value"] for turn in rows_of(record)[0]["conversations"] if turn["from"] == "gpt"]
    reference = [row["conversations"][1]["value"] for row in rows_of(record, "question")]
    assert reference == [sample.answer for sample in record.samples]
    assert said[1] == f"It is far, so look twice.\n{record.samples[1].answer}"
    assert said[:1] + said[2:] == reference[:1] + reference[2:]


def test_typed_answers_are_numbers_or_words_and_never_both(make_record):
    record = make_record()
    mixed = TypedAnswer(AnswerKind.LENGTHS, (1.0, "two"), "m", "size")
    with pytest.raises(SdvlmError, match="mixes numbers and words"):
        rows_of(replace(record, samples=(replace(record.samples[0], answer_typed=mixed),)))
    for cell in rows_of(record)[0]["questions"]:
        assert bool(cell["answer"]["numbers"]) != bool(cell["answer"]["words"])


def test_a_text_that_holds_the_mark_of_the_picture_is_refused(make_record):
    record = make_record()
    with pytest.raises(SdvlmError, match="marks the picture"):
        rows_of(replace(record, samples=(replace(record.samples[0], question="How wide is the <image>?"),)))


@pytest.mark.parametrize(
    "change",
    [
        {"camera": {"width": 64}},
        {"objects": [{"id": 1}]},
        {"image_base64": "%%%"},
        {"image_size": [64]},
        {"T_world_cam": [1.0, 2.0]},
        {"questions": [{"type": "unheard of"}]},
    ],
)
def test_a_row_of_something_else_is_refused_in_one_line(make_record, change):
    row = rows_of(make_record())[0] | change
    with pytest.raises(SdvlmError) as told:
        record_of(row)
    assert "\n" not in str(told.value)


def test_a_missing_column_is_named(make_record):
    row = rows_of(make_record())[0]
    del row["camera"]
    with pytest.raises(SdvlmError, match="camera"):
        record_of(row)
