"""What stands in for true depth is what it says it is."""

import numpy as np
import torch

from sdvlm.ablation.estimate import predict, quality, train_head
from sdvlm.ablation.rooms import Rooms
from sdvlm.ablation.sources import NEAREST_M, estimated, noisy, true_depth


def test_noise_is_normal_a_patch_and_stays_with_its_picture(rooms: Rooms) -> None:
    source, true = noisy(rooms, 0.3, 4, seed=1), true_depth(rooms)
    side = rooms.pictures.shape[1] // 4
    found = []
    for index in range(len(rooms)):
        values = source.map(index).values
        np.testing.assert_array_equal(values, source.map(index).values)
        np.testing.assert_array_equal(np.isnan(values), np.isnan(true.map(index).values))
        noise = np.where(values > NEAREST_M, values - true.map(index).values, np.nan)
        blocks = noise.reshape(4, side, 4, side).swapaxes(1, 2).reshape(16, -1)
        assert np.nanmax(np.nanmax(blocks, axis=1) - np.nanmin(blocks, axis=1)) < 1e-5  # one number a patch
        found += np.nanmean(blocks, axis=1).tolist()
    assert len(set(np.round(found, 5))) > 50
    assert 0.2 < np.std(found) < 0.4


def test_true_depth_follows_the_factor_and_an_estimate_does_not(rooms: Rooms) -> None:
    true, seen = true_depth(rooms), estimated(np.log(np.full((len(rooms), 2, 2), 3.0, np.float32)), 64)
    np.testing.assert_allclose(true.map(1, 1.5).values, 1.5 * true.map(1).values, rtol=1e-6)
    np.testing.assert_allclose(seen.map(1, 1.5).values, 3.0, rtol=1e-6)


def test_patches_of_an_estimate_lie_where_they_belong() -> None:
    depth = np.arange(1, 5, dtype=np.float32).reshape(1, 2, 2)
    values = estimated(np.log(depth), 6).map(0).values
    np.testing.assert_allclose(values, np.kron(depth[0], np.ones((3, 3))), rtol=1e-6)


def test_the_estimator_learns_what_the_features_hold() -> None:
    torch.manual_seed(0)
    z = torch.exp(0.5 * torch.randn(400, 4))
    features = torch.randn(400, 4, 16)
    features[..., :2] = torch.stack([z.log(), -z.log()], dim=-1) * 4
    z[0, 0] = torch.nan
    found = []
    for given in (features, features.roll(1, dims=0)):  # its own features, and those of another picture
        head = train_head(given[:300], z[:300], side=2, steps=60, seed=0, batch=256)
        found.append(quality(predict(head, given[300:]), z[300:]))
    assert found[0].abs_rel < 0.2 < 0.3 < found[1].abs_rel
    assert found[0].delta1 > 0.7 > 0.5 > found[1].delta1


def test_quality_is_the_published_measure() -> None:
    z = torch.tensor([[1.0, 2.0, 4.0, torch.nan]])
    found = quality(torch.log(torch.tensor([[1.2, 2.0, 3.0, 9.0]])), z)
    assert abs(found.abs_rel - (0.2 + 0.0 + 0.25) / 3) < 1e-6
    assert abs(found.delta1 - 2 / 3) < 1e-6  # 4 / 3 is beyond 1.25
