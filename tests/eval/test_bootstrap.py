"""Bootstrap intervals against resampling questions one by one, and against the normal approximation."""

from __future__ import annotations

import numpy as np
import pytest

from sdvlm.eval.bootstrap import resample


def test_intervals_are_those_of_resampling_each_question():
    marks = [np.array([1] * 30 + [0] * 66), np.array([1] * 16 + [0] * 24)]
    rng = np.random.default_rng(1)
    rates = np.array([[rng.choice(one, len(one)).mean() for one in marks] for _ in range(4000)])
    drawn = resample([30, 16], [96, 40], resamples=20_000)
    for index in range(2):
        assert drawn.family(index) == pytest.approx(np.percentile(rates[:, index], (2.5, 97.5)), abs=0.02)
    assert drawn.mean() == pytest.approx(np.percentile(rates.mean(axis=1), (2.5, 97.5)), abs=0.01)
    assert drawn.mean(8) == pytest.approx(np.percentile(rates.sum(axis=1) / 8, (2.5, 97.5)), abs=0.01)
    pooled = (rates * [96, 40]).sum(axis=1) / 136
    assert drawn.pooled() == pytest.approx(np.percentile(pooled, (2.5, 97.5)), abs=0.01)


def test_a_large_family_has_the_interval_of_the_normal_approximation():
    low, high = resample([500], [1000]).family(0)
    half = 1.96 * np.sqrt(0.25 / 1000)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.003)


def test_the_same_seed_gives_the_same_intervals():
    assert resample([3, 4], [9, 8], seed=5).mean() == resample([3, 4], [9, 8], seed=5).mean()
    assert resample([30, 40], [90, 80], seed=5).pooled() != resample([30, 40], [90, 80], seed=6).pooled()


def test_all_right_and_all_wrong_leave_no_doubt():
    drawn = resample([0, 7], [5, 7])
    assert (drawn.family(0), drawn.family(1), drawn.mean()) == ((0, 0), (1, 1), (0.5, 0.5))
