"""The added code: the paper's formula, norm matching, the gate, and what stays untouched."""

import math

import pytest
import torch

from sdvlm.fusion.add import GATE_STEP, AddDepthCode, mean_norm
from sdvlm.fusion.sinusoid import sinusoid


def _tokens(count, width=16, seed=0, dtype=torch.float32):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_the_papers_encoding_is_min_max_times_100_through_sine_and_cosine_added(make_grid):
    # arXiv 2509.17664 section 3 / reference benchmarks-and-data.md 1.4, written out
    z, tokens = [4.0, 1.0, 2.5], _tokens(3)
    got = AddDepthCode(16, "sdvlm_compat", scale=1.0, base=10_000.0)(tokens, make_grid(z, kind="disparity"))
    for i in range(3):
        position = (z[i] - 1.0) / (4.0 - 1.0 + 1e-9) * 100
        for k in range(8):
            angle = position * 10_000 ** (-k / 8)
            assert got[i, 2 * k].item() == pytest.approx(tokens[i, 2 * k].item() + math.sin(angle), abs=1e-4)
            assert got[i, 2 * k + 1].item() == pytest.approx(tokens[i, 2 * k + 1].item() + math.cos(angle), abs=1e-4)


def test_mean_norm_is_taken_in_each_picture_on_its_own():
    tokens, index = _tokens(5), torch.tensor([0, 1, 0, 1, 1])
    got = mean_norm(tokens, index)
    for i in range(5):
        own = [tokens[j].norm().item() for j in range(5) if index[j] == index[i]]
        assert got[i].item() == pytest.approx(sum(own) / len(own), rel=1e-6)


def test_no_tokens_have_no_norm():
    assert mean_norm(torch.empty(0, 4), torch.empty(0, dtype=torch.long)).shape == (0, 1)


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
def test_a_norm_matched_code_has_its_share_of_the_tokens_norm_however_large_they_are(make_grid, share, size):
    tokens = size * _tokens(4)
    added = AddDepthCode(16, relative_norm=share)(tokens, make_grid([0.5, 1, 2, 4])) - tokens
    expected = share * tokens.norm(dim=-1).mean().item()
    assert added.norm(dim=-1).tolist() == pytest.approx([expected] * 4, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_tokens_get_the_float32_code_rounded_once(make_grid, dtype):
    tokens, grid = _tokens(4, dtype=dtype), make_grid([0.5, 1.0, 7.0, 60.0])
    got = AddDepthCode(16, "sdvlm_compat", scale=1.0, base=10_000.0)(tokens, grid)
    position = (grid.z.double() - 0.5) / 59.5 * 100
    code = sinusoid(position.float(), 16)
    assert got.dtype == dtype
    assert torch.equal(got, tokens + code.to(dtype))


def test_the_code_is_the_same_inside_autocast(make_grid):
    fusion, tokens, grid = AddDepthCode(16, relative_norm=0.3), _tokens(4), make_grid([0.5, 1.0, 7.0, 60.0])
    expected = fusion(tokens, grid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fusion(tokens, grid), expected)


def test_the_gate_scales_each_channel_of_the_code(make_grid):
    fusion, tokens, grid = AddDepthCode(16, gated=True), _tokens(3), make_grid([1.0, 2.0, 3.0])
    factors = torch.linspace(-1, 1, 16)
    with torch.no_grad():
        fusion.gate.copy_(factors / GATE_STEP)
    plain = AddDepthCode(16)(tokens, grid)
    torch.testing.assert_close(fusion(tokens, grid), tokens + factors * (plain - tokens))


def test_the_gate_gets_the_gradient_of_its_formula(make_grid):
    fusion, tokens, grid = AddDepthCode(16, gated=True), _tokens(3), make_grid([1.0, 2.0, 3.0])
    weights = _tokens(3, seed=1)
    (fusion(tokens, grid) * weights).sum().backward()
    code = AddDepthCode(16)(tokens, grid) - tokens
    torch.testing.assert_close(fusion.gate.grad, GATE_STEP * (code * weights).sum(dim=0), rtol=1e-4, atol=1e-4)
