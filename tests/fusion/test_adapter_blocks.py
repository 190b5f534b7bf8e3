"""What the parts of a side adapter see, and how far."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdvlm.fusion.adapter_blocks import Stage, Stem
from sdvlm.fusion.add import GATE_STEP

PATCH, WIDTH, TOWER = 8, 32, 48


def planes(rows: int, columns: int, pictures: int = 2) -> Tensor:
    """(P, 2, H, W) a coordinate and the valid plane, all known."""
    torch.manual_seed(rows * columns)
    coordinate = torch.rand(pictures, 1, rows * PATCH, columns * PATCH) * 4 - 2
    return torch.cat([coordinate, torch.ones_like(coordinate)], dim=1)


def stem() -> Stem:
    torch.manual_seed(0)
    return Stem(2, WIDTH, PATCH)


def open_stage() -> Stage:
    torch.manual_seed(1)
    stage = Stage(TOWER, WIDTH)
    torch.nn.init.normal_(stage.injector.gamma)
    return stage


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 3), (1, 1)])
def test_the_pyramid_has_cells_of_half_a_patch_a_patch_and_two_patches(rows: int, columns: int) -> None:
    sizes = [tuple(state.shape) for state, _ in stem()(planes(rows, columns))]
    halved = (rows + 1) // 2, (columns + 1) // 2
    assert sizes == [(2, 2 * rows, 2 * columns, WIDTH), (2, rows, columns, WIDTH), (2, *halved, WIDTH)]


def test_a_pixel_reaches_only_the_cells_it_lies_in() -> None:
    depth = planes(5, 3)
    moved = depth.clone()
    row, column = 2 * PATCH + 5, PATCH + 1
    moved[1, 0, row, column] += 1.0
    for (before, _), (after, _), cell in zip(stem()(depth), stem()(moved), (PATCH // 2, PATCH, 2 * PATCH), strict=True):
        changed = (before != after).any(dim=-1).nonzero().tolist()
        assert changed == [[1, row // cell, column // cell]]


def test_cells_without_a_known_pixel_hold_nothing_and_one_known_pixel_is_enough() -> None:
    depth = planes(4, 4, pictures=1)
    depth[:, :, : 2 * PATCH] = 0
    depth[0, :, 3, 9] = 1.0
    for level, (state, known) in enumerate(stem()(depth)):
        cell = PATCH // 2 * 2**level
        wanted = torch.tensor(
            [
                [bool(depth[0, 1, r : r + cell, c : c + cell].any()) for c in range(0, 4 * PATCH, cell)]
                for r in range(0, 4 * PATCH, cell)
            ]
        )
        assert torch.equal(known[0, ..., 0], wanted)
        assert not state[~known[..., 0]].any()


def test_half_precision_weights_still_tell_depths_apart_that_half_precision_cannot() -> None:
    near, far = planes(2, 2), planes(2, 2)
    near[:, 0], far[:, 0] = 1.5000, 1.5030
    assert torch.equal(near.bfloat16(), far.bfloat16())
    half = stem().bfloat16()
    (first, _), *_ = half(near)
    (second, _), *_ = half(far)
    assert first.dtype is torch.bfloat16
    assert not torch.equal(first, second)


def test_a_tokens_update_is_the_attention_over_its_cells_written_out_in_a_loop() -> None:
    stage, rows, columns = open_stage(), 3, 5
    depth = planes(rows, columns, pictures=1)
    depth[:, :, :PATCH, : 2 * PATCH] = 0
    tokens = torch.randn(1, rows, columns, TOWER)
    update, known, pyramid = stage(tokens, stem()(depth))
    one = stage.injector
    narrow = stage.down(stage.norm(tokens))
    (fine, fine_known), (same, same_known), (coarse, coarse_known) = pyramid
    for r in range(rows):
        for c in range(columns):
            cells = [(fine, fine_known, 2 * r + i, 2 * c + j) for i in range(2) for j in range(2)]
            cells += [(same, same_known, r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            cells += [(coarse, coarse_known, r // 2, c // 2)]
            seen = [
                (slot, one.norm(level[0, y, x]))
                for slot, (level, there, y, x) in enumerate(cells)
                if 0 <= y < level.shape[1] and 0 <= x < level.shape[2] and there[0, y, x]
            ]
            assert bool(known[0, r, c]) == bool(seen)
            if not seen:
                continue
            parts = []
            for head in range(one.heads):
                of_head = slice(head * WIDTH // one.heads, (head + 1) * WIDTH // one.heads)
                query = one.query(narrow[0, r, c])[of_head]
                keys = torch.stack([(one.key(cell) + one.slot_keys[slot])[of_head] for slot, cell in seen])
                values = torch.stack([(one.value(cell) * one.slot_weights[slot])[of_head] for slot, cell in seen])
                parts.append((keys @ query / len(query) ** 0.5).softmax(dim=0) @ values)
            wanted = one.out(torch.cat(parts)) * GATE_STEP * one.gamma
            assert torch.allclose(update[0, r, c], wanted, atol=2e-5, rtol=1e-4)


def test_a_fresh_stage_updates_nothing_and_its_first_gradient_opens_the_gate_alone() -> None:
    stage = Stage(TOWER, WIDTH)
    update, _, _ = stage(torch.randn(2, 4, 4, TOWER), stem()(planes(4, 4)))
    assert not update.any()
    update.square().sum().backward()
    assert not stage.injector.gamma.grad.any()  # a square is flat at zero
    stage(torch.randn(2, 4, 4, TOWER), stem()(planes(4, 4)))[0].sum().backward()
    moved = {
        name for name, parameter in stage.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert moved == {"injector.gamma"}


def test_pictures_do_not_see_each_other_and_depth_unknown_everywhere_has_a_finite_gradient() -> None:
    stage, tokens = open_stage(), torch.randn(2, 3, 3, TOWER)
    depth = planes(3, 3)
    depth[1] = 0
    both, known, _ = stage(tokens, stem()(depth))
    alone, _, _ = stage(tokens[:1], stem()(depth[:1]))
    assert torch.allclose(both[:1], alone, atol=1e-5)
    assert known[0].all()
    assert not known[1].any()
    both.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in stage.parameters())
