"""Depth tokens: the table's formula in a loop, no steps in depth, sizes, places, unknown, and that they learn."""

import copy
import math

import numpy as np
import pytest
import torch

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_token import DepthTokens
from sdvlm.types import DepthKind, SdvlmError

LOG_RANGE = math.log(1000)


def _tokens(count, width=16, seed=0, dtype=torch.float32):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _fusion(places=False, bins=32, **settings):
    torch.manual_seed(0)
    fusion = DepthTokens(16, bins=bins, places=places, **settings)
    with torch.no_grad():
        fusion.table.copy_(torch.randn(bins, 16))
    return fusion


def _placed(grid, u, v):
    grid.u.copy_(torch.tensor(u))
    grid.v.copy_(torch.tensor(v))
    return grid


def test_a_token_mixes_the_two_rows_its_log_depth_lies_between(make_grid):
    fusion, z = _fusion(), [0.1, 0.17, 1.0, 3.3, 42.0, 100.0]
    tokens = _tokens(len(z))
    got = fusion(tokens, make_grid(z))
    size = np.mean([math.sqrt(sum(c * c for c in token)) for token in tokens.tolist()]) / 4
    table = fusion.table.tolist()
    for i, depth in enumerate(z):
        at = 31 * math.log(depth / 0.1) / LOG_RANGE
        lower = min(int(at + 1e-6), 30)
        row = [(1 - (at - lower)) * a + (at - lower) * b for a, b in zip(table[lower], table[lower + 1], strict=True)]
        assert got[i].tolist() == pytest.approx([size * c for c in row], abs=2e-4)


def test_depth_beyond_the_range_takes_the_last_rows(make_grid):
    got = _fusion()(_tokens(4), make_grid([0.1, 0.01, 100.0, 900.0]))
    assert torch.equal(got[0], got[1])
    assert torch.equal(got[2], got[3])


def test_a_token_moves_without_steps_as_depth_does(make_grid):
    z = torch.logspace(-1, 2, 4001)
    got = _fusion()(torch.ones(1, 16).expand(4001, -1), make_grid(z))
    moved = got.diff(dim=0).norm(dim=-1)
    one_bin = (_fusion().table.diff(dim=0).norm(dim=-1)).max()
    assert moved.max() <= 1.05 * one_bin * 31 / 4000
    assert moved.min() > 0


def test_minmax_bins_are_blind_to_scale_and_log_bins_are_not(make_grid):
    tokens, z = _tokens(3), torch.tensor([1.0, 2.0, 5.0])
    one, other = (_fusion(coordinate_name="minmax")(tokens, make_grid(k * z)) for k in (1, 3))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    one, other = (_fusion()(tokens, make_grid(k * z)) for k in (1, 3))
    assert not torch.allclose(one, other, atol=0.1)


def test_every_unknown_token_is_the_one_learned_for_it_and_takes_no_table_row(make_grid):
    fusion, tokens = _fusion(), _tokens(3)
    got = fusion(tokens, make_grid([math.nan, 2.0, math.nan]))
    torch.testing.assert_close(got[0] / got[0].norm(), fusion.unknown / fusion.unknown.norm())
    assert torch.equal(got[0], got[2])
    got[0].sum().backward()
    assert fusion.table.grad is None or not fusion.table.grad.any()
    assert fusion.unknown.grad.abs().min() > 0


@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_fresh_tokens_have_their_share_of_the_pictures_norm_however_large_it_is(make_grid, size, share):
    torch.manual_seed(0)
    tokens = size * _tokens(6)
    index = [0, 0, 0, 1, 1, 1]
    tokens[3:] *= 5
    fusion = DepthTokens(16, relative_norm=share, places=False)
    got = fusion(tokens, make_grid([0.5, 1, 2, 3, 7, 40], index)).norm(dim=-1)
    for i in range(6):
        own = [tokens[j].norm().item() for j in range(6) if index[j] == index[i]]
        assert got[i].item() == pytest.approx(
            share * sum(own) / len(own), rel=0.01
        )  # a mixture of two rows is a little shorter


def test_without_a_share_tokens_are_as_the_table_has_them_whatever_the_picture(make_grid):
    fusion, grid = _fusion(relative_norm=None), make_grid([0.1, 100.0])
    for size in (0.01, 300.0):
        assert torch.equal(fusion(size * _tokens(2), grid), fusion.table[[0, -1]])


def test_fresh_tokens_are_alike_when_their_depths_are_and_grow_apart(make_grid):
    torch.manual_seed(0)
    fusion = DepthTokens(64, places=False)
    got = fusion(torch.ones(4, 64), make_grid([1.0, 1.05, 2.0, 8.0]))
    near, mid, far = torch.nn.functional.cosine_similarity(got[:1], got[1:]).tolist()
    assert near > 0.95
    assert near > mid > far


def test_tokens_know_their_place_only_when_asked(make_grid):
    u, v = [0.1, 0.9, 0.5], [0.2, 0.2, 0.8]
    for places in (True, False):
        torch.manual_seed(0)
        got = DepthTokens(16, places=places)(torch.ones(3, 16), _placed(make_grid([2.0] * 3), u, v))
        assert torch.equal(got[0], got[1]) is not places
        assert torch.equal(got[0], got[2]) is not places


def test_a_token_without_a_place_is_finite(make_grid):
    torch.manual_seed(0)
    assert torch.isfinite(DepthTokens(16)(_tokens(3), make_grid([1.0, math.nan, 3.0]))).all()


def test_pictures_in_a_batch_do_not_mix(make_grid):
    fusion, tokens = _fusion(), _tokens(5)
    both = fusion(tokens, make_grid([1.0, 2.0, 3.0, 4.0, math.nan], [0, 0, 0, 1, 1]))
    alone = [fusion(tokens[:3], make_grid([1.0, 2.0, 3.0])), fusion(tokens[3:], make_grid([4.0, math.nan]))]
    torch.testing.assert_close(both, torch.cat(alone))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_depths_are_still_told_apart_in_float32(make_grid, dtype):
    fusion = _fusion(bins=512)
    half = copy.deepcopy(fusion).to(dtype)
    tokens, grid = _tokens(3), make_grid([60.0, 60.5, 61.0])
    got = half(tokens.to(dtype), grid)
    assert got.dtype == dtype
    assert not torch.equal(got[0], got[1])
    torch.testing.assert_close(got.float(), fusion(tokens, grid), rtol=0.02, atol=0.02)


def test_tokens_are_the_same_inside_autocast(make_grid):
    fusion, tokens, grid = _fusion(places=True), _tokens(3), make_grid([60.0, 61.0, 2.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fusion(tokens, grid), fusion(tokens, grid))
        half = fusion(tokens, grid)
    assert torch.equal(half, fusion(tokens, grid))


def test_no_gradient_reaches_the_picture_through_its_norm(make_grid):
    tokens = _tokens(3).requires_grad_()
    assert not _fusion()(tokens, make_grid([1.0, 2.0, 3.0])).sum().backward()
    assert tokens.grad is None


def test_only_the_rows_at_the_seen_depths_learn(make_grid):
    fusion = _fusion()
    fusion(_tokens(2), make_grid([1.0, 3.0])).square().sum().backward()
    at = [31 * math.log(z / 0.1) / LOG_RANGE for z in (1.0, 3.0)]
    wanted = {row for one in at for row in (math.floor(one), math.floor(one) + 1)}
    moved = set(fusion.table.grad.abs().sum(dim=1).nonzero()[:, 0].tolist())
    assert moved == wanted


def test_tokens_learn_metres_they_were_not_shown(make_grid):
    """A linear read-out of the tokens gives log depth at depths between those it was fitted on."""
    torch.manual_seed(0)
    fusion = DepthTokens(16, places=False)
    z = torch.logspace(-0.5, 1, 200)
    tokens = torch.ones(200, 16)
    with torch.no_grad():
        code = torch.cat([fusion(tokens, make_grid(z)), torch.ones(200, 1)], dim=1).double()
    weights = torch.linalg.lstsq(code[::2], z[::2].double().log()).solution
    error = (code[1::2] @ weights - z[1::2].double().log()).abs()
    assert error.max() < 0.05


def test_the_settings_of_a_checkpoint_reach_the_module(make_grid):
    settings = FusionConfig("depth_token", bins=7, coordinate="minmax", relative_norm=0.4)
    fusion = build_fusion(settings, 16)
    assert (len(fusion.table), fusion.coordinate_name, fusion.relative_norm) == (7, "minmax", 0.4)
    assert settings.kinds == frozenset(DepthKind)
    assert fusion(_tokens(2), make_grid([3.0, 5.0], kind="disparity")).shape == (2, 16)
    assert build_fusion(FusionConfig.preset("depth_token"), 16).relative_norm == 1.0


def test_settings_without_a_meaning_are_refused(make_grid):
    for message, call in (
        ("at least 2 bins; got 1", lambda: DepthTokens(16, bins=1)),
        ("'log_metric' or 'minmax'; got 'metres'", lambda: DepthTokens(16, coordinate_name="metres")),
        ("even and positive; got 7", lambda: DepthTokens(7)),
        ("needs metric depth", lambda: _fusion()(_tokens(1), make_grid([1.0], kind="disparity"))),
    ):
        with pytest.raises(SdvlmError) as caught:
            call()
        assert message in str(caught.value)
