"""MSMU-Rooms: the published proportions, exact answers, the same on every machine, never a half-built folder."""

import dataclasses
from collections import Counter

import pytest

from sdvlm.data.built import iter_records
from sdvlm.data.schema import QuestionType
from sdvlm.data.verify_build import verify_build
from sdvlm.eval.msmu_rooms import MSMU_BENCH_COUNTS, MSMU_ROOMS, build_rooms_bench, msmu_rooms, questions_digest
from sdvlm.nano.exam import HELD_OUT_SEED
from sdvlm.nano.recipe import Recipe
from sdvlm.types import SdvlmError

SMALL = dataclasses.replace(MSMU_ROOMS, counts=dict.fromkeys(QuestionType, 3), digest=None)
SMALL_DIGEST = "a0b64664f05e478f56d05694"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms") / "bench"
    build_rooms_bench(SMALL, folder)
    return folder


def test_its_counts_are_those_of_msmu_bench():
    assert sum(MSMU_BENCH_COUNTS.values()) == 987
    assert MSMU_ROOMS.counts == MSMU_BENCH_COUNTS


def test_every_family_has_its_count_and_every_answer_is_right(small):
    records = list(iter_records(small, "test"))
    assert Counter(one.type for record in records for one in record.samples) == SMALL.counts
    assert max(len(record.samples) for record in records) <= SMALL.per_frame
    assert verify_build(small).faults == ()


def test_it_is_the_same_on_every_machine(small):
    assert questions_digest(small) == SMALL_DIGEST


def test_its_rooms_are_never_trained_on():
    rooms = range(MSMU_ROOMS.seed, MSMU_ROOMS.seed + 10_000)
    recipe = Recipe()
    trained = range(recipe.data_seed, recipe.data_seed + recipe.shards)
    assert not set(rooms) & set(trained)
    assert HELD_OUT_SEED not in rooms


def test_what_is_shipped_is_compared():
    assert MSMU_ROOMS.digest is not None


def test_it_is_built_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path))
    one = dataclasses.replace(SMALL, counts={QuestionType.COUNT: 1})
    folder = msmu_rooms(one)
    assert folder.parent == tmp_path
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert msmu_rooms(one) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_what_comes_out_different_is_refused_and_not_kept(tmp_path):
    other = dataclasses.replace(SMALL, counts={QuestionType.COUNT: 1}, digest="0" * 24)
    with pytest.raises(SdvlmError, match="came out different on this machine"):
        msmu_rooms(other, tmp_path / "bench")
    assert list(tmp_path.iterdir()) == []
