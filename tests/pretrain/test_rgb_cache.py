"""The feature cache: computed once, resumed, bounded, and never a part taken for the whole."""

import os
import pickle

import numpy as np
import pytest

from sdvlm.pretrain import rgb_cache
from sdvlm.pretrain.rgb_cache import FeatureCache, default_feature_folder
from sdvlm.types import SdvlmError

GB = 10**9


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    monkeypatch.setattr(rgb_cache, "ROWS", 4)


def numbers(rows):
    return np.stack([np.full((2, 3), row, dtype=np.float32) for row in rows])


def test_rows_come_back_as_computed_and_nothing_is_computed_twice(tmp_path):
    cache = FeatureCache(tmp_path, {"tower": "a"}, 10, (2, 3), GB)
    assert cache.fill(numbers) == 10
    assert np.array_equal(cache[[9, 0, 5]], numbers([9, 0, 5]))
    assert FeatureCache(tmp_path, {"tower": "a"}, 10, (2, 3), GB).fill(numbers) == 0
    assert FeatureCache(tmp_path, {"tower": "b"}, 10, (2, 3), GB).fill(numbers) == 10


def test_an_interrupted_one_is_gone_on_with(tmp_path):
    asked = []

    def failing(rows):
        asked.append(list(rows))
        if rows[0] >= 8:
            raise RuntimeError("stopped")
        return numbers(rows)

    with pytest.raises(RuntimeError):
        FeatureCache(tmp_path, {}, 10, (2, 3), GB).fill(failing)
    again = FeatureCache(tmp_path, {}, 10, (2, 3), GB)
    assert again.fill(lambda rows: asked.append(list(rows)) or numbers(rows)) == 2
    assert asked[-1] == [8, 9]


def test_a_part_cut_short_is_computed_again(tmp_path):
    cache = FeatureCache(tmp_path, {}, 10, (2, 3), GB)
    cache.fill(numbers)
    part = cache.folder / "000001.npy"
    part.write_bytes(part.read_bytes()[:-5])
    again = FeatureCache(tmp_path, {}, 10, (2, 3), GB)
    assert again.fill(numbers) == 4
    assert np.array_equal(again[range(10)], numbers(range(10)))


def test_two_processes_each_make_their_share(tmp_path):
    cache = FeatureCache(tmp_path, {}, 10, (2, 3), GB)
    assert cache.fill(numbers, share=(1, 2)) == 4
    assert cache.fill(numbers, share=(0, 2)) == 6


def test_the_least_recently_used_entries_make_room(tmp_path):
    first, second = (FeatureCache(tmp_path, {"tower": name}, 4, (2, 3), GB) for name in "ab")
    for age, cache in ((200, first), (100, second)):
        cache.fill(numbers)
        marker = cache.folder / "made_from.json"
        os.utime(marker, (marker.stat().st_mtime - age,) * 2)
    of_one = sum(file.stat().st_size for file in second.folder.iterdir())
    third = FeatureCache(tmp_path, {"tower": "c"}, 4, (2, 3), 2 * of_one - 10)
    assert not first.folder.exists()
    assert second.folder.exists()
    assert third.fill(numbers) == 4


def test_one_that_cannot_fit_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(SdvlmError, match="cache_gb"):
        FeatureCache(tmp_path, {}, 10**6, (9, 1024), GB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [lambda rows: numbers(rows) * np.nan, lambda rows: numbers(rows)[:, :1]])
def test_features_that_are_not_finite_or_of_another_shape_are_not_kept(tmp_path, bad):
    cache = FeatureCache(tmp_path, {}, 10, (2, 3), GB)
    with pytest.raises(SdvlmError, match="finite"):
        cache.fill(bad)
    assert not list(cache.folder.glob("*.npy"))


def test_moments_are_those_of_all_rows(tmp_path):
    values = np.random.default_rng(0).normal(3, 2, (10, 2, 3)).astype(np.float16)
    cache = FeatureCache(tmp_path, {}, 10, (2, 3), GB)
    cache.fill(lambda rows: values[list(rows)].astype(np.float32))
    mean, deviation = cache.moments()
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(deviation, values.astype(np.float64).std(axis=0), rtol=1e-3)


def test_it_can_be_sent_to_reader_processes(tmp_path):
    cache = FeatureCache(tmp_path, {}, 10, (2, 3), GB)
    cache.fill(numbers)
    cache[[0]]
    assert np.array_equal(pickle.loads(pickle.dumps(cache))[[3]], numbers([3]))


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path))
    assert default_feature_folder() == tmp_path / "rgb_features"
