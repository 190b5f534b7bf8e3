"""Fused norms are the stock ones: the same values and gradients, in the precision of what comes in."""

import copy

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from sdvlm.nano.norms import use_fused_norms


@pytest.fixture
def norms() -> tuple[LlamaRMSNorm, LlamaRMSNorm]:
    """Stock and fused, with the same weights."""
    torch.manual_seed(0)
    stock = LlamaRMSNorm(24, eps=1e-5)
    torch.nn.init.normal_(stock.weight)
    fused = copy.deepcopy(stock)
    use_fused_norms(torch.nn.Sequential(fused))
    return stock, fused


def test_values_and_gradients_are_those_of_the_stock_norm(norms: tuple[LlamaRMSNorm, LlamaRMSNorm]) -> None:
    states, upstream = torch.randn(3, 5, 24), torch.randn(3, 5, 24)
    found = []
    for norm in norms:
        given = states.clone().requires_grad_()
        out = norm(given)
        out.backward(upstream)
        found.append((out, given.grad, norm.weight.grad))
    for stock, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, stock)


def test_narrow_states_stay_narrow_and_are_normed_in_float32(norms: tuple[LlamaRMSNorm, LlamaRMSNorm]) -> None:
    stock, fused = norms
    states = 1e3 * torch.randn(4, 24)
    narrow = fused(states.bfloat16())
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), stock(states.bfloat16().float()), rtol=1e-2, atol=1e-2)
