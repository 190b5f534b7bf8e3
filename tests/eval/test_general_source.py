"""General questions: what is asked, what is left out, and when an answer matches."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from sdvlm.eval.exact_match import exact_form, is_long
from sdvlm.eval.general_source import GeneralSource
from sdvlm.types import SdvlmError


def save_picture(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def talk(*turns):
    return [{"from": "human" if index % 2 == 0 else "gpt", "value": text} for index, text in enumerate(turns)]


@pytest.fixture
def llava(tmp_path):
    """Two pictures, one of them in two rows; a text alone; a row about both pictures."""
    (tmp_path / "pictures").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        save_picture(tmp_path / "pictures" / name, seed)
    rows = [
        {"id": 1, "image": "a.png", "conversations": talk("<image>\nWhat colour is the cat?", "Black.", "Why?", "Fur")},
        {"id": 2, "conversations": talk("Is water wet?", "Yes")},
        {"id": 3, "image": "b.png", "conversations": talk("<image>\nHow many dogs?", "Two")},
        {"id": 4, "image": ["a.png", "b.png"], "conversations": talk("<image><image>\nThe same?", "No")},
        {"id": 5, "image": "a.png", "conversations": talk("<image>\nIs it day?", "Yes")},
    ]
    (tmp_path / "vqa.json").write_text(json.dumps(rows))
    return tmp_path


def test_each_question_about_one_picture_is_asked_by_itself(llava):
    source = GeneralSource(llava / "vqa.json", images=str(llava / "pictures"))
    asked = [(row.question, row.reference) for row in source.rows]
    assert asked == [
        ("What colour is the cat?", "Black."), ("Why?", "Fur"), ("How many dogs?", "Two"), ("Is it day?", "Yes")
    ]  # fmt: skip
    assert source.left_out == 2
    assert source.facts["rows"] == 4
    assert [row.image_id == source.rows[0].image_id for row in source.rows] == [True, True, False, True]


def test_each_picture_is_handed_over_once_as_it_is_on_disk(llava):
    source = GeneralSource(llava / "vqa.json", images=str(llava / "pictures"))
    seen = {image_id: look() for image_id, look in source.pictures()}
    assert list(seen) == [source.rows[0].image_id, source.rows[2].image_id]
    for seed, frame in enumerate(seen.values()):
        assert np.array_equal(frame.image, np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8))
        assert frame.depth is None
    assert not source.has_depth


def test_a_row_that_cannot_be_used_is_refused_or_counted(llava):
    (llava / "pictures" / "b.png").unlink()
    with pytest.raises(SdvlmError, match=r"b\.png.*--on-broken skip"):
        GeneralSource(llava / "vqa.json", images=str(llava / "pictures"))
    source = GeneralSource(llava / "vqa.json", images=str(llava / "pictures"), on_broken="skip")
    assert len(source.broken) == 2
    assert len(source.rows) == 3


def test_data_without_pictures_is_told(tmp_path):
    (tmp_path / "text.json").write_text(json.dumps([{"conversations": talk("Is water wet?", "Yes")}]))
    with pytest.raises(SdvlmError, match="asks nothing about a single picture; 1 rows"):
        GeneralSource(tmp_path / "text.json")


@pytest.mark.parametrize(
    ("said", "wanted", "same"),
    [
        ("black", "Black.", True),
        ("The two dogs", "2 dogs", True),
        ("1.5", "15", False),
        ("1,000", "1,000.", True),
        ("12:30 pm", "12:30 PM", True),
        ("yes, it is", "yes", False),
        ("t-shirt", "T shirt", True),
        ("B", "(b)", True),
        ("cat", "cats", False),
    ],
)
def test_answers_match_but_for_case_marks_articles_and_number_words(said, wanted, same):
    assert (exact_form(said) == exact_form(wanted)) is same


def test_an_empty_answer_is_unread_and_wrong(llava):
    source = GeneralSource(llava / "vqa.json", images=str(llava / "pictures"))
    outcomes = [source.outcome({"answer": said, "reference": "Two"}) for said in ("two.", "three", "", "...")]
    assert [(one.right, one.parsed) for one in outcomes] == [
        (True, True),
        (False, True),
        (False, False),
        (False, False),
    ]


def test_long_references_are_counted(llava):
    assert is_long("The cat sits on a mat in the sun")
    assert not is_long("On the mat.")
    rows = json.loads((llava / "vqa.json").read_text())
    rows[0]["conversations"][1]["value"] = "The cat on the left seems to be entirely black."
    (llava / "vqa.json").write_text(json.dumps(rows))
    assert GeneralSource(llava / "vqa.json", images=str(llava / "pictures")).facts["long_references"] == 1
