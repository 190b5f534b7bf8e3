"""Patch contrast against its definition in loops."""

import math

import pytest
import torch

from sdvlm.pretrain.patch_contrast import patch_contrast
from sdvlm.types import SdvlmError


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def by_formula(depth, rgb, valid, scale, same=1.0):
    """Mean over pictures of the mean over taking patches of both directions' -log share of the own patch."""
    total = 0.0
    for d, r, v in zip(depth.double(), rgb.double(), valid, strict=True):
        takes = [i for i in range(len(v)) if v[i] >= 0.5]
        cost = 0.0
        for i in takes:
            rivals = [j for j in takes if j == i or cosine(r[i], r[j]) <= same]
            for row in ([cosine(d[i], r[j]) for j in rivals], [cosine(d[j], r[i]) for j in rivals]):
                cost -= scale * cosine(d[i], r[i]) - math.log(sum(math.exp(scale * one) for one in row))
        total += cost / (2 * len(takes)) if takes else 0
    return total / len(depth)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    rgb = torch.randn(3, 10, 4)
    rgb[0, 4] = rgb[0, 7] * 2 + 0.01 * torch.randn(4)
    valid = torch.rand(3, 10)
    valid[1, :3] = 1
    return rgb + torch.randn(3, 10, 4), rgb, valid


@pytest.mark.parametrize("same", [1.0, 0.9, 0.3])
def test_the_loss_is_the_definition_patch_by_patch(batch, same):
    depth, rgb, valid = batch
    got = patch_contrast(depth, rgb, valid, torch.tensor(math.log(5.0)), same)
    assert float(got.loss) == pytest.approx(by_formula(depth, rgb, valid, 5.0, same), abs=1e-5)
    assert float(got.taking) == pytest.approx(float((valid >= 0.5).float().mean()))


def test_patches_of_unknown_depth_neither_ask_nor_answer(batch):
    depth, rgb, valid = batch
    unknown = valid < 0.5
    before = patch_contrast(depth, rgb, valid, torch.tensor(1.0))
    changed = depth.masked_fill(unknown[..., None], 9.0).requires_grad_()
    after = patch_contrast(changed, rgb, valid, torch.tensor(1.0))
    assert float(after.loss.detach()) == float(before.loss)
    after.loss.backward()
    assert not changed.grad[unknown].any()
    assert changed.grad[~unknown].any(dim=-1).all()


def test_a_picture_without_known_depth_counts_with_nothing_and_parts_average_to_the_whole(batch):
    depth, rgb, valid = batch
    valid = torch.cat([valid[:2], torch.zeros(1, 10)])
    whole = patch_contrast(depth, rgb, valid, torch.tensor(1.0))
    parts = [patch_contrast(depth[i, None], rgb[i, None], valid[i, None], torch.tensor(1.0)).loss for i in range(3)]
    assert float(parts[2]) == 0
    assert float(whole.loss) == pytest.approx(float(sum(parts)) / 3, abs=1e-6)


def test_accuracy_and_chance_count_candidates_that_are_left():
    rgb = torch.eye(4)[None]
    valid = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    got = patch_contrast(rgb[:, [0, 2, 1, 3]], rgb, valid, torch.tensor(1.0))
    assert float(got.accuracy) == pytest.approx(1 / 3)
    assert float(got.chance) == pytest.approx(1 / 3)
    assert float(patch_contrast(rgb, rgb, valid, torch.tensor(1.0)).accuracy) == 1


def test_sameness_is_judged_by_the_teacher_where_one_is_given(batch):
    depth, rgb, valid = batch
    flat = torch.ones(3, 10, 5)
    got = patch_contrast(depth, rgb, valid, torch.tensor(1.0), teacher=flat)
    assert float(got.loss) == pytest.approx(0, abs=1e-6)  # all patches alike: nothing to contrast
    assert float(got.chance) == pytest.approx(1)


def test_shapes_that_do_not_fit_are_refused(batch):
    depth, rgb, valid = batch
    with pytest.raises(SdvlmError, match=r"\[3, 9\]"):
        patch_contrast(depth, rgb, valid[:, :9], torch.tensor(1.0))
