"""The paired bootstrap: the difference itself by counting, its interval by known cases."""

import numpy as np
import pytest

from sdvlm.eval.paired import paired_difference
from sdvlm.types import SdvlmError


def runs(rng, pictures=60, per_picture=6, gain=0.0):
    """Two runs; the second right at 0.6, the first at that plus ``gain`` where the second is wrong."""
    first, second = [], []
    for picture in range(pictures):
        for number in range(per_picture):
            right = bool(rng.random() < 0.6)
            first.append((picture, "ab"[number % 2], right or bool(rng.random() < gain)))
            second.append((picture, "ab"[number % 2], right))
    return first, second


def test_the_difference_is_the_mean_of_the_families_differences():
    first = [(0, "a", True), (0, "a", True), (1, "a", False), (1, "b", True)]
    second = [(0, "a", False), (0, "a", True), (1, "a", False), (1, "b", False)]
    found = paired_difference(first, second)
    assert found.families["a"][0] == pytest.approx(1 / 3)
    assert found.families["b"][0] == pytest.approx(1.0)
    assert found.mean == pytest.approx(2 / 3)


def test_a_run_against_itself_differs_by_nothing():
    first, _ = runs(np.random.default_rng(0))
    found = paired_difference(first, first)
    assert (found.mean, found.interval) == (0.0, (0.0, 0.0))


def test_a_small_gain_is_seen_where_separate_intervals_would_overlap():
    first, second = runs(np.random.default_rng(1), gain=0.2)
    found = paired_difference(first, second)
    assert 0 < found.interval[0] < found.mean < found.interval[1]
    width_alone = 2 * 1.96 * np.sqrt(0.6 * 0.4 / len(first))
    assert found.mean < width_alone  # the two runs' own intervals overlap


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        first = [(p, "a", bool(rng.random() < 0.7)) for p in range(80) for _ in range(3)]
        second = [(p, "a", bool(rng.random() < 0.6)) for p in range(80) for _ in range(3)]
        low, high = paired_difference(first, second, resamples=400, seed=seed).interval
        covered += low <= 0.1 <= high
    assert 105 <= covered <= 120


def test_pictures_are_resampled_whole():
    """Questions of one picture that agree say no more than one: the interval is that of so many pictures."""
    rng = np.random.default_rng(3)
    outcome = rng.random(50) < 0.5
    once = [(p, "a", bool(right)) for p, right in enumerate(outcome)]
    often = [one for one in once for _ in range(10)]
    never_once, never_often = ([(p, f, False) for p, f, _ in run] for run in (once, often))
    assert paired_difference(often, never_often).interval == pytest.approx(
        paired_difference(once, never_once).interval, abs=1e-12
    )


@pytest.mark.parametrize("second", [[], [(0, "a", True)], [(0, "b", True), (1, "a", True)]])
def test_other_questions_are_refused(second):
    with pytest.raises(SdvlmError, match="same questions"):
        paired_difference([(0, "a", True), (1, "a", True)], second)


def test_nothing_is_no_run():
    with pytest.raises(SdvlmError, match="at least one"):
        paired_difference([], [])
