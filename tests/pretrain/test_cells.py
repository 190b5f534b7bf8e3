"""Pooling keeps the layout; the projection standardises by what it was given."""

import pytest
import torch

from sdvlm.pretrain.cells import Projection, pool_cells, split_pictures
from sdvlm.types import SdvlmError


def test_cells_are_means_of_their_patches():
    features = torch.randn(2, 24, 5)  # 4 x 6 patches
    pooled = pool_cells(list(features), [(4, 6)] * 2, 2)
    maps = features.reshape(2, 4, 6, 5)
    for row in range(2):
        for column in range(2):
            expected = maps[:, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3].mean(dim=(1, 2))
            torch.testing.assert_close(pooled[:, 2 * row + column], expected)


def test_pictures_of_several_sizes_are_pooled_each_by_its_own_grid():
    parts = [torch.randn(12, 3), torch.randn(20, 3)]
    grids = [(3, 4), (4, 5)]
    pooled = pool_cells(parts, grids, 2)
    for number in range(2):
        torch.testing.assert_close(pooled[number], pool_cells([parts[number]], [grids[number]], 2)[0])
    packed = split_pictures(torch.cat(parts), grids)
    assert all(torch.equal(a, b) for a, b in zip(packed, parts, strict=True))


def test_one_cell_is_the_mean_whatever_the_grid():
    features = torch.randn(1, 35, 4)
    torch.testing.assert_close(pool_cells(list(features), [(5, 7)], 1)[0, 0], features[0].mean(dim=0))


def test_features_that_do_not_fit_the_patches_are_refused():
    with pytest.raises(SdvlmError, match="do not fit"):
        split_pictures(torch.zeros(2, 16, 3), [(4, 4), (4, 5)])
    with pytest.raises(SdvlmError, match="do not fit"):
        split_pictures(torch.zeros(30, 3), [(4, 4), (4, 4)])


def test_a_common_direction_of_the_teacher_is_taken_off():
    torch.manual_seed(0)
    pooled = torch.randn(200, 4, 6) * torch.linspace(0.5, 3, 6) + 50.0  # every picture nearly the same direction
    head = Projection(4, 6, 8)
    head.standardise_by(pooled.mean(dim=0), pooled.std(dim=0))
    a = head.layers[0](((pooled - pooled.mean(dim=0)) / pooled.std(dim=0)).flatten(1))
    torch.testing.assert_close(head(pooled), a, rtol=1e-4, atol=1e-4)
    cosine = torch.nn.functional.normalize(head(pooled), dim=1)
    assert float((cosine @ cosine.T).abs().mean()) < 0.5


def test_moments_are_saved_with_the_weights():
    head, other = Projection(1, 3, 2), Projection(1, 3, 2)
    head.standardise_by(torch.ones(1, 3), torch.full((1, 3), 2.0))
    other.load_state_dict(head.state_dict())
    x = torch.randn(4, 1, 3)
    assert torch.equal(head(x), other(x))


def test_a_feature_that_never_varies_is_not_blown_up():
    head = Projection(1, 2, 2)
    head.standardise_by(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert bool(head(torch.tensor([[[1.0, 1e-3]]])).isfinite().all())
    assert float(head.deviation.min()) > 1e-4
