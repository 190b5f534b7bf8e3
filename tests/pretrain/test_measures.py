"""Retrieval, probe and effective rank against loops, closed forms and known matrices."""

import math

import numpy as np
import pytest
import torch

from sdvlm.pretrain.info_nce import scene_numbers
from sdvlm.pretrain.measures import effective_rank, retrieval, ridge_probe
from sdvlm.types import SdvlmError


def rank_by_loop(query, key, i):
    """How many other keys are at least as near to query i as its own."""
    cosine = [float(query[i] @ one / (query[i].norm() * one.norm())) for one in key]
    return sum(j != i and cosine[j] >= cosine[i] - 1e-6 for j in range(len(key)))


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_retrieval_counts_what_a_loop_counts_whatever_the_chunk(chunk):
    torch.manual_seed(0)
    key = torch.randn(40, 6)
    query = key + 0.9 * torch.randn(40, 6)
    got = retrieval(query, key, chunk=chunk)
    there = [rank_by_loop(query, key, i) for i in range(40)]
    back = [rank_by_loop(key, query, i) for i in range(40)]
    assert got.r1 == sum(rank < 1 for rank in there) / 40
    assert got.r5 == sum(rank < 5 for rank in there) / 40
    assert got.back_r1 == sum(rank < 1 for rank in back) / 40
    assert got.back_r5 == sum(rank < 5 for rank in back) / 40
    assert 0 < got.r1 < got.r5 < 1
    assert (got.chance_r1, got.chance_r5, got.count) == (1 / 40, 5 / 40, 40)


def test_features_that_do_not_depend_on_the_picture_find_nothing():
    same = torch.randn(1, 33).expand(64, 33) * torch.rand(64, 1)  # cosines differ in the last bits only
    got = retrieval(same, same)
    assert (got.r1, got.r5, got.back_r1) == (0, 0, 0)


def test_features_that_are_no_numbers_find_nothing():
    broken = torch.full((3, 4), math.nan)
    got = retrieval(broken, torch.randn(3, 4), scene_numbers(["a", "b", "b"]))
    assert (got.r1, got.r5, got.back_r1, got.back_r5, got.scene_r1) == (0, 0, 0, 0, 0)


def test_another_frame_of_the_same_scene_counts_for_the_scene_only():
    key = torch.eye(4)
    query = key[[1, 0, 2, 0]]
    got = retrieval(query, key, scene_numbers(["a", "a", "", "b"]))
    assert got.r1 == 0.25
    assert got.scene_r1 == 0.75
    assert got.scene_chance == pytest.approx((2 + 2 + 1 + 1) / 4 / 4)
    assert retrieval(query, key).scene_r1 is None


def test_the_probe_reads_what_is_linear_in_the_features_and_nothing_of_noise():
    torch.manual_seed(1)
    x, weights = torch.randn(400, 20), torch.randn(20)
    y = x @ weights + 3
    assert ridge_probe(x[:300], y[:300], x[300:], y[300:]) > 0.9999
    assert ridge_probe(x[:300], torch.randn(300), x[300:], torch.randn(100)) < 0.1


def test_the_probe_is_ridge_regression_at_its_best_penalty_of_the_grid():
    rng = np.random.default_rng(2)
    x, test_x = rng.normal(size=(50, 40)) * rng.uniform(0.1, 9, 40), rng.normal(size=(500, 40))
    truth = rng.normal(size=40) / 3
    y, test_y = x @ truth + rng.normal(size=50), test_x @ truth
    got = ridge_probe(*(torch.from_numpy(one) for one in (x, y, test_x, test_y)))
    mean, deviation = x.mean(0), x.std(0, ddof=1)
    z, test_z = (x - mean) / deviation, (test_x - mean) / deviation
    scores = {}
    for power in range(-6, 4):
        solve = np.linalg.inv(z.T @ z + 10.0**power * 50 * np.eye(40)) @ z.T
        hat = z @ solve + 1 / 50
        residual = y - hat @ y
        error = (residual**2).sum() / (1 - np.trace(hat) / 50) ** 2
        said = test_z @ (solve @ (y - y.mean())) + y.mean()
        scores[error] = 1 - ((test_y - said) ** 2).sum() / ((test_y - test_y.mean()) ** 2).sum()
    assert got == pytest.approx(scores[min(scores)], abs=1e-8)


def test_a_probe_with_fewer_rows_than_features_and_a_dead_feature_stays_finite():
    torch.manual_seed(3)
    x = torch.randn(60, 100)
    x[:, 7] = 4.2
    y = x[:, 0]
    assert 0 < ridge_probe(x[:30], y[:30], x[30:], y[30:]) <= 1


def test_a_probe_of_constant_features_is_as_good_as_the_mean():
    y = torch.arange(8.0)
    assert ridge_probe(torch.ones(8, 3), y, torch.ones(8, 3), y) == pytest.approx(0)


def test_a_probe_of_features_that_are_no_numbers_is_none():
    y = torch.arange(4.0)
    assert math.isnan(ridge_probe(torch.full((4, 2), math.nan), y, torch.ones(4, 2), y))


@pytest.mark.parametrize("target", [torch.ones(4), torch.tensor([1.0, math.nan, 2.0, 3.0])])
def test_a_probe_of_a_target_that_says_nothing_is_refused(target):
    with pytest.raises(SdvlmError, match="finite targets that vary"):
        ridge_probe(torch.randn(4, 2), target, torch.randn(4, 2), target)


def test_a_probe_of_unequal_rows_is_refused():
    with pytest.raises(SdvlmError, match="rows"):
        ridge_probe(torch.randn(4, 2), torch.randn(3), torch.randn(4, 2), torch.randn(4))


@pytest.mark.parametrize("rows", [5, 40])
def test_effective_rank_is_the_entropy_of_the_singular_values(rows):
    x = np.random.default_rng(4).normal(size=(rows, 12)) * np.arange(1, 13)
    singular = np.linalg.svd(x, compute_uv=False)
    share = singular / singular.sum()
    expected = math.exp(-sum(p * math.log(p) for p in share))
    assert effective_rank(torch.from_numpy(x)) == pytest.approx(expected, rel=1e-6)


def test_effective_rank_of_known_matrices():
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.randn(9, 1) @ torch.randn(1, 4)) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.zeros(3, 4)) == 0
    assert math.isnan(effective_rank(torch.full((3, 4), math.inf)))


def test_a_common_direction_hides_the_rest_until_it_is_centred():
    torch.manual_seed(5)
    x = torch.randn(200, 8) + 1000
    assert effective_rank(x) < 1.2
    assert effective_rank(x, centre=True) > 7
