"""Attention of question rows to their pictures' prefixes, for training: no copy of the prefix's keys and values.

Registered with transformers under a name of its own and chosen by the nano trainer. Without ``shared_prefix`` among the
call's keywords it is plain causal attention: with so few tokens faster, backward above all, than SDPA's CPU kernel.

Notation: B pictures, Q questions each, R = B * Q rows of L tokens, P prefix tokens, H heads of width w.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import Cache

__all__ = ["NAME", "prefix_layer", "register"]

NAME = "sdvlm_question_rows"


def register() -> str:
    """Make the attention known to transformers; returns its name for ``set_attn_implementation``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def prefix_layer(cache: Cache, layer: int) -> tuple[Tensor, Tensor]:
    """Keys and values (B, H, P, w) of one layer of a filled cache."""
    held: Any = cache.layers[layer]
    return held.keys, held.values


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    shared_prefix: Cache | None = None,
    prefix_lengths: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention in the form transformers calls it.

    Args:
        query, key, value: (R, H, L, w) of the rows.
        attention_mask: ignored with a prefix: rows are causal and padded on the right.
        shared_prefix: cache with keys and values (B, H, P, w) of the pictures; rows of one picture lie together.
        prefix_lengths: (B,) long, where prefixes are right-padded: how much of each there is.

    Returns:
        (R, L, H, w) and no weights.
    """
    if shared_prefix is None:
        if attention_mask is not None:
            from transformers.integrations.sdpa_attention import sdpa_attention_forward

            return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        scores = (query * kwargs["scaling"]) @ key.transpose(-1, -2)
        weights = scores.masked_fill(_later(query), -torch.inf).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), None
    keys, values = prefix_layer(shared_prefix, int(module.layer_idx))  # type: ignore[arg-type]
    rows, heads, length, width = query.shape
    pictures, prefix = keys.shape[0], keys.shape[2]
    query = query * kwargs["scaling"]
    together = query.view(pictures, -1, heads, length, width).transpose(1, 2).reshape(pictures, heads, -1, width)
    far = (together @ keys.transpose(-1, -2)).view(pictures, heads, -1, length, prefix)  # [B, H, Q, L, P]
    if prefix_lengths is not None:
        padding = torch.arange(prefix, device=far.device) >= prefix_lengths[:, None]  # [B, P]
        far = far.masked_fill(padding[:, None, None, None], -torch.inf)
    near = (query @ key.transpose(-1, -2)).view(pictures, -1, heads, length, length).transpose(1, 2)  # [B, H, Q, L, L]
    near = near.masked_fill(_later(query), -torch.inf)
    weights = torch.cat([far, near], dim=-1).softmax(-1)
    far, near = weights.split([prefix, length], dim=-1)
    out = (far.reshape(pictures, heads, -1, prefix) @ values).view(pictures, heads, -1, length, width)
    own = near.transpose(1, 2).reshape(rows, heads, length, length) @ value  # [R, H, L, w]
    out = out.transpose(1, 2).reshape(rows, heads, length, width) + own
    return out.transpose(1, 2).contiguous(), None


def _later(query: Tensor) -> Tensor:
    """(L, L) True where a key comes after the query."""
    length = query.shape[-2]
    return torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
