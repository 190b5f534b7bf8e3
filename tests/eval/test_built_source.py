"""Built data as a benchmark: strict scores by true values, its own depth and camera, the same questions each time."""

import numpy as np
import pytest

from sdvlm.data.schema import QuestionType
from sdvlm.data.shards import assemble, write_part
from sdvlm.eval.built_source import BuiltSource
from sdvlm.types import SdvlmError


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_record):
    folder = tmp_path_factory.mktemp("built")
    for scene in ("a", "b", "c"):
        write_part(folder / f"{scene}.parquet", [make_record(scene, frame) for frame in range(2)])
    parts = [("train", folder / "a.parquet"), ("test", folder / "b.parquet"), ("test", folder / "c.parquet")]
    assemble(parts, folder / "out")
    return folder / "out"


def test_every_question_of_the_split_is_a_row_in_order(built, make_record):
    rows = BuiltSource(built).rows
    wanted = [
        (f"{scene}/{frame}", one.question, one.answer, one.type)
        for scene in "bc"
        for frame in range(2)
        for one in make_record(scene, frame).samples
    ]
    assert [(row.image_id, row.question, row.reference, row.type) for row in rows] == wanted
    assert [row.number for row in rows] == list(range(len(wanted)))


def test_training_rows_are_asked_question_by_question_too(built):
    assert len(BuiltSource(built, "train").rows) == 2 * 8


@pytest.mark.parametrize(
    ("family", "answer", "right"),
    [
        (QuestionType.SCALE_COMPARE, "the red table", True),
        (QuestionType.SCALE_COMPARE, "the red chair", False),
        (QuestionType.COUNT, "2", True),
        (QuestionType.COUNT, "3", False),
        (QuestionType.ZERO, "No.", True),
        (QuestionType.POSITION, "(0.25, 0.75)", True),
        (QuestionType.POSITION, "(0.75, 0.25)", False),
    ],
)
def test_answers_are_scored_by_the_true_values(built, family, answer, right):
    source = BuiltSource(built)
    row = next(row for row in source.rows if row.type is family)
    assert source.outcome({**row.to_dict(), "answer": answer}).right is right


def test_lengths_pass_within_a_factor_of_five_quarters(built):
    source = BuiltSource(built)
    row = next(row for row in source.rows if row.type is QuestionType.ABSOLUTE_DISTANCE)
    true = row.extra["truth"]["values"][0]
    said = [source.outcome({**row.to_dict(), "answer": f"{true * factor:.3f} m"}).right for factor in (1.2, 0.85, 1.3)]
    assert said == [True, True, False]


def test_pictures_come_once_with_their_depth_and_camera(built, make_record):
    looks = dict(BuiltSource(built).pictures())
    assert sorted(looks) == ["b/0", "b/1", "c/0", "c/1"]
    frame, record = looks["b/1"](), make_record("b", 1)
    assert frame.camera == record.camera
    assert frame.size == record.size
    assert np.isfinite(frame.depth.values).mean() == pytest.approx(0.9, abs=0.05)
    assert frame.depth.source == "made up"


def test_a_limit_draws_from_all_pictures_and_is_the_same_each_time(built):
    first, again = BuiltSource(built, limit=12), BuiltSource(built, limit=12)
    assert len(first.rows) == 12
    assert first.facts == again.facts
    assert len({row.image_id for row in first.rows}) > 1
    assert {row.image_id for row in first.rows} == set(dict(first.pictures()))


def test_a_split_that_is_not_there_is_refused(built):
    with pytest.raises(SdvlmError, match="no split 'validation'"):
        BuiltSource(built, "validation")


def test_an_unfinished_build_is_refused(tmp_path):
    with pytest.raises(SdvlmError, match="no finished build"):
        BuiltSource(tmp_path)
