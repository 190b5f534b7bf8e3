"""Pictures of another scale: depth and true lengths change together, by a factor no unscaled answer passes."""

from dataclasses import replace

import numpy as np
import pytest

from sdvlm.data.schema import AnswerKind, QuestionType
from sdvlm.data.shards import assemble, write_part
from sdvlm.eval.built_source import BuiltSource
from sdvlm.eval.scaled_source import LARGEST_SCALE, SMALLEST_SCALE, ScaledSource, scale_of
from sdvlm.eval.scoring import DELTA

LENGTHS = (AnswerKind.LENGTH.value, AnswerKind.LENGTHS.value)


def saying_lengths(record):
    """The record with answers that say their lengths."""
    samples = [
        replace(one, answer=" x ".join(f"{value:.2f} m" for value in one.answer_typed.values))
        if one.answer_typed.kind.value in LENGTHS
        else one
        for one in record.samples
    ]
    return replace(record, samples=tuple(samples))


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_record):
    folder = tmp_path_factory.mktemp("built")
    write_part(folder / "a.parquet", [saying_lengths(make_record("a", frame)) for frame in range(3)])
    assemble([("test", folder / "a.parquet")], folder / "out")
    return folder / "out"


def test_factors_are_beyond_what_the_strict_rule_forgives_and_belong_to_the_picture():
    factors = np.array([scale_of(f"room{number}/0") for number in range(400)])
    up = np.maximum(factors, 1 / factors)
    assert up.min() >= SMALLEST_SCALE > DELTA
    assert up.max() <= LARGEST_SCALE
    assert 0.4 < (factors > 1).mean() < 0.6
    assert scale_of("room7/0") == factors[7]


def test_depth_and_lengths_are_scaled_together_and_other_answers_stay(built):
    plain, scaled = BuiltSource(built), ScaledSource(built)
    before = {(row.image_id, row.question): row for row in plain.rows}
    looks, plain_looks = dict(scaled.pictures()), dict(plain.pictures())
    lengths = 0
    for row in scaled.rows:
        factor = scale_of(row.image_id)
        np.testing.assert_allclose(
            looks[row.image_id]().depth.values, factor * plain_looks[row.image_id]().depth.values, rtol=1e-5
        )
        if (was := before.get((row.image_id, row.question))) is None:
            continue  # a length is said in the question
        said, true = (dict(one.extra["truth"])["values"] for one in (row, was))
        if dict(was.extra["truth"])["kind"] in LENGTHS:
            lengths += 1
            np.testing.assert_allclose(said, np.multiply(true, factor), atol=0.006)
            wrong = {"type": row.type.value, "truth": row.extra["truth"], "names": [], "answer": was.reference}
            assert not scaled.outcome(wrong | {"question": row.question}).right
        else:
            assert said == true
    assert lengths


def test_a_report_can_tell_scaled_questions_from_plain_ones(built):
    plain, scaled = BuiltSource(built).facts, ScaledSource(built, name="scaled built").facts
    assert plain["fingerprint"] != scaled["fingerprint"]
    assert scaled["scaled"] == [SMALLEST_SCALE, LARGEST_SCALE]
    assert {row.type for row in ScaledSource(built).rows} >= {QuestionType.COUNT}
