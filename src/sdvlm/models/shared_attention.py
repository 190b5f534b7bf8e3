"""Attention of many rows to one shared prefix, without copying the prefix.

Every row attends to the prefix's keys and values and to its own tokens' after it. Softmax over both parts is the two
softmaxes mixed by their normalisers, so the prefix is read once for all rows, where a repeated cache would be read
(and first written) once a row. Registered with transformers' ``AttentionInterface``; the model's code stays untouched.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

__all__ = ["SharedPrefixCache", "can_share", "sharing"]

_NAME = "sdvlm_shared_prefix"
_SCORES = 2**24  # scores held at once, per key-value head: bounds the memory of long suffixes
_ACTIVE: ContextVar[SharedPrefixCache | None] = ContextVar(_NAME, default=None)
_SWITCHING = threading.Lock()


class _SharedLayer(DynamicLayer):
    """Keys and values of the rows' own tokens, behind (1, heads, P, width) ones of the prefix."""

    def __init__(self, prefix_keys: Tensor, prefix_values: Tensor) -> None:
        super().__init__()
        self.prefix_keys, self.prefix_values = prefix_keys, prefix_values

    def get_seq_length(self) -> int:
        return int(self.prefix_keys.shape[-2] + super().get_seq_length())


class SharedPrefixCache(Cache):
    """A cache whose rows all begin with the one row of ``prefix``. Any number of them may stand on one prefix.

    The rows' own tokens may come in one pass, one after another in a single row (:meth:`packing`), so that rows of
    different lengths cost no padding; :meth:`unpack` then gives each its row.
    """

    def __init__(self, prefix: Cache) -> None:
        plain: list[Any] = list(prefix.layers)
        self.shared = [_SharedLayer(layer.keys, layer.values) for layer in plain]
        self.block: Tensor | None = None
        super().__init__(layers=list(self.shared))

    def packing(self, lengths: Tensor) -> None:
        """The next pass holds rows of these (B,) lengths in one: each attends to the prefix and itself, causally."""
        row = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)  # [T]
        place = torch.arange(len(row), device=lengths.device)
        self.block = ((row[:, None] == row) & (place[:, None] >= place))[None, None]  # [1, 1, T, T]

    def unpack(self, lengths: Tensor) -> None:
        """From (1, heads, T, width) own keys and values to (B, heads, S, width), left-padded with what is there."""
        width = int(lengths.max())
        index = (lengths.cumsum(0) - width)[:, None] + torch.arange(width, device=lengths.device)  # [B, S]
        for layer in self.shared:
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys = layer.keys[0][:, index.clamp(min=0)].transpose(0, 1)
            layer.values = layer.values[0][:, index.clamp(min=0)].transpose(0, 1)
        self.block = None


def can_share(vlm: Any, prefix: Cache) -> bool:
    """Whether a model's attention and cache are of the plain kind that :func:`sharing` replaces exactly."""
    plain = all(type(layer) is DynamicLayer for layer in prefix.layers)
    return plain and vlm.get_decoder().config._attn_implementation == "sdpa"


@contextmanager
def sharing(vlm: Any, cache: SharedPrefixCache) -> Iterator[None]:
    """While it lasts, this thread's passes of the language model attend to the prefix of ``cache``.

    One at a time; passes of other threads go on as ever, as the replacement hands them to the original attention.
    """
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    decoder = vlm.get_decoder()
    with _SWITCHING:
        before = decoder.config._attn_implementation
        token = _ACTIVE.set(cache)
        try:
            decoder.set_attn_implementation(_NAME)
            yield
        finally:
            decoder.set_attn_implementation(before)
            _ACTIVE.reset(token)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: (B, H, Q, W) queries, own (B, K, S, W) keys and values, (B, 1, Q, P + S) mask."""
    cache = _ACTIVE.get()
    if cache is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    layer: Any = module.layer_idx
    prefix = cache.shared[layer]
    batch, heads, count, width = query.shape
    groups = heads // key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    rows = query.reshape(batch, -1, groups * count, width)  # [B, K, G * Q, W]
    own_mask = cache.block
    if own_mask is None and attention_mask is not None:
        own_mask = attention_mask[..., -key.shape[2] :]
    if own_mask is not None and groups > 1:
        own_mask = own_mask[:, :, None].expand(-1, -1, groups, -1, -1).flatten(2, 3)
    own, own_norm = _part(rows, key, value, scale, own_mask)
    folded = rows.transpose(0, 1).flatten(1, 2)  # [K, B * G * Q, W]: all rows at once against the one prefix
    step = max(1, _SCORES // prefix.prefix_keys.shape[2])
    parts = [_part(some, prefix.prefix_keys[0], prefix.prefix_values[0], scale) for some in folded.split(step, dim=1)]
    shared, norm = (
        torch.cat(part, dim=1).unflatten(1, (batch, -1)).transpose(0, 1) for part in zip(*parts, strict=True)
    )
    share = torch.sigmoid(norm - own_norm).to(value.dtype)  # the prefix's part of the whole softmax
    out = share * shared + (1 - share) * own
    return out.reshape(batch, heads, count, -1).transpose(1, 2).contiguous(), None


def _part(
    rows: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention of (..., R, W) rows to one part of the keys, and its log normaliser (..., R, 1), float32."""
    scores = (rows @ keys.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(torch.float32).min)
    norm = scores.logsumexp(dim=-1, keepdim=True)
    return (scores - norm).exp().to(values.dtype) @ values, norm
