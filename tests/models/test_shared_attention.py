"""Attention to a shared prefix is plain attention over prefix and own tokens."""

from __future__ import annotations

import types

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sdvlm.models import shared_attention
from sdvlm.models.shared_attention import SharedPrefixCache


def plainly(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Softmax attention in float64, head by head: query (H, Q, W), keys (K, S, W), allowed (Q, S); gives (Q, H, W)."""
    groups = query.shape[0] // keys.shape[0]
    out = []
    for head in range(query.shape[0]):
        scores = query[head].double() @ keys[head // groups].double().T / query.shape[-1] ** 0.5
        out.append(scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ values[head // groups].double())
    return torch.stack(out, dim=1)


def make(heads: int, kv_heads: int, prefix: int) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    keys, values = torch.randn(2, 1, kv_heads, prefix, 8)
    cache = DynamicCache()
    cache.update(keys, values, 0)
    return cache, keys[0], values[0]


def attend(
    cache: SharedPrefixCache, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
):
    module = types.SimpleNamespace(layer_idx=0)
    token = shared_attention._ACTIVE.set(cache)
    try:
        return shared_attention._attend(module, query, *cache.update(key, value, 0), mask)[0]
    finally:
        shared_attention._ACTIVE.reset(token)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("scores", [7, 2**24])
def test_packed_rows_then_steps_equal_attention_over_the_whole_of_each_row(
    heads: int, kv_heads: int, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_attention, "_SCORES", scores)
    prefix, keys, values = make(heads, kv_heads, prefix=11)
    lengths = torch.tensor([2, 5, 1])
    total, width = int(lengths.sum()), int(lengths.max())
    query, key, value = torch.randn(1, heads, total, 8), *torch.randn(2, 1, kv_heads, total, 8)
    cache = SharedPrefixCache(prefix)
    cache.packing(lengths)
    packed = attend(cache, query, key, value, None)[0]  # (T, H, W)
    cache.unpack(lengths)
    assert cache.get_seq_length() == 11 + width
    step_query, step_key, step_value = torch.randn(3, heads, 1, 8), *torch.randn(2, 3, kv_heads, 1, 8)
    seen = torch.arange(width)[None] >= width - lengths[:, None]
    mask = torch.cat([torch.ones(3, 11, dtype=torch.bool), seen, torch.ones(3, 1, dtype=torch.bool)], dim=1)
    stepped = attend(cache, step_query, step_key, step_value, mask[:, None, None])
    for row, (start, length) in enumerate(zip((lengths.cumsum(0) - lengths).tolist(), lengths.tolist(), strict=True)):
        own = slice(start, start + length)
        causal = torch.ones(length, 11 + length).tril(11).bool()
        row_keys, row_values = torch.cat([keys, key[0][:, own]], 1), torch.cat([values, value[0][:, own]], 1)
        wanted = plainly(query[0][:, own], row_keys, row_values, causal)
        torch.testing.assert_close(packed[own].double(), wanted, atol=1e-5, rtol=1e-5)
        row_keys, row_values = torch.cat([row_keys, step_key[row]], 1), torch.cat([row_values, step_value[row]], 1)
        wanted = plainly(step_query[row], row_keys, row_values, torch.ones(1, 12 + length).bool())
        torch.testing.assert_close(stepped[row].double(), wanted, atol=1e-5, rtol=1e-5)


def test_half_precision_keeps_its_dtype_and_comes_close() -> None:
    prefix, keys, values = make(4, 2, prefix=300)
    half = DynamicCache()
    half.update(keys[None].bfloat16(), values[None].bfloat16(), 0)
    query, key, value = torch.randn(2, 4, 1, 8), *torch.randn(2, 2, 2, 1, 8)
    exact = attend(SharedPrefixCache(prefix), query, key, value, None)
    rough = attend(SharedPrefixCache(half), query.bfloat16(), key.bfloat16(), value.bfloat16(), None)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, atol=2e-2, rtol=5e-2)


def test_a_cache_that_is_not_plain_is_not_shared() -> None:
    from transformers import LlamaConfig

    config = LlamaConfig(num_hidden_layers=1, attn_implementation="sdpa")
    config.layer_types, config.sliding_window = ["sliding_attention"], 4
    vlm = types.SimpleNamespace(get_decoder=lambda: types.SimpleNamespace(config=config))
    assert not shared_attention.can_share(vlm, DynamicCache(config=config))
    assert shared_attention.can_share(vlm, DynamicCache())
