"""Intervals over seeds are Student's; the paired comparison keeps all seeds' answers about a picture together."""

import math

import numpy as np
import pytest

from sdvlm.ablation.intervals import family_means, over_seeds, paired_over_seeds


def test_the_interval_of_three_seeds_is_that_of_the_table() -> None:
    found = over_seeds([0.5, 0.6, 0.7])
    half = 4.303 * 0.1 / math.sqrt(3)
    assert found.mean == pytest.approx(0.6)
    assert found.interval == pytest.approx((0.6 - half, 0.6 + half))


def test_one_seed_has_no_interval() -> None:
    assert over_seeds([0.5]).interval is None


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = [low <= 2 <= high for low, high in (over_seeds(rng.normal(2, 1, 4)).interval for _ in range(4000))]
    assert abs(np.mean(covered) - 0.95) < 0.012


def test_family_means_count_right_answers() -> None:
    assert family_means([(0, "a", True), (0, "a", False), (1, "b", True)]) == {"a": 0.5, "b": 1.0}


def test_repeating_a_seed_narrows_no_interval_over_pictures() -> None:
    rng = np.random.default_rng(1)
    first, second = ([(i // 4, "a", bool(rng.random() < p)) for i in range(400)] for p in (0.7, 0.5))
    one, three = paired_over_seeds([first], [second]), paired_over_seeds([first] * 3, [second] * 3)
    assert one["macro"]["rate"] == pytest.approx(three["macro"]["rate"])
    assert one["macro"]["interval"] == pytest.approx(three["macro"]["interval"])
