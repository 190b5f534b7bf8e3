"""Teach names to find their things: attention of a few heads, supervised by the objects' masks.

Left to the answers alone, binding "red chair" to its patches is by far the slowest part of training. Here the last
token of each name in a question is told where to look, in one layer: one head at the whole object, four heads at its
top, bottom, left and right edges, from which lengths can be read. A name of something absent looks at the first token
of the sequence. Only training knows of this; the model stays a stock LLaVA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sdvlm.nano.prefix_attention import prefix_layer

if TYPE_CHECKING:
    from transformers import Cache, LlamaModel

__all__ = ["GROUNDING_HEADS", "attention_log_shares", "fetching_loss", "grounding_loss", "grounding_targets"]

GROUNDING_HEADS = ("whole", "top", "bottom", "left", "right")
"""what the first heads of the grounding layer are told to look at"""


def grounding_targets(coverage: Tensor, side: int) -> Tensor:
    """Where each head should look for one object.

    Args:
        coverage: (N,) share of each patch that the object covers, row-major on a side x side grid.
        side: patches per row.

    Returns:
        (5, 1 + N) distributions over the prefix (first token, then patches), in the order of ``GROUNDING_HEADS``.
        An object that covers nothing (or no object) points at the first token.
    """
    targets = coverage.new_zeros(len(GROUNDING_HEADS), 1 + side * side)
    total = coverage.sum()
    if total <= 0:
        targets[:, 0] = 1
        return targets
    mass = (coverage / total).reshape(side, side)
    steps = torch.arange(side, dtype=coverage.dtype)
    rows, columns = steps[:, None].expand(side, side), steps[None].expand(side, side)
    shown = mass > 0.15 * mass.max()
    for head, place in enumerate((None, rows, -rows, columns, -columns)):
        weight = mass
        if place is not None:
            first = place[shown].min()
            weight = mass * (shown & (place < first + 1))
        targets[head, 1:] = (weight / weight.sum()).flatten()
    return targets


def grounding_loss(
    model: LlamaModel, layer: int, hidden: Tensor, cache: Cache, rows: Tensor, columns: Tensor, targets: Tensor
) -> Tensor:
    """Cross-entropy between the supervised heads' attention and where they should look.

    Args:
        model, layer, hidden, cache, rows, columns: see :func:`attention_log_shares`; M tokens that name something.
        targets: (M, 5, P) from :func:`grounding_targets`.

    Returns:
        (M, 5) cross-entropy of each head for each mention.
    """
    shares = attention_log_shares(model, layer, hidden, cache, rows, columns, targets.shape[1])
    return -(targets * shares[..., : targets.shape[2]]).sum(-1)


def fetching_loss(
    model: LlamaModel, layer: int, hidden: Tensor, cache: Cache, rows: Tensor, columns: Tensor, names: Tensor
) -> Tensor:
    """Cross-entropy between the attention of tokens of an answer and the names that they are about.

    Args:
        model, layer, hidden, cache, rows, columns: see :func:`attention_log_shares`; M tokens of answers.
        names: (M, H) column of the name that each of the first H heads should look at.

    Returns:
        (M, H) cross-entropy.
    """
    shares = attention_log_shares(model, layer, hidden, cache, rows, columns, names.shape[1])
    prefix = prefix_layer(cache, layer)[0].shape[2]
    return -shares.gather(-1, prefix + names[..., None])[..., 0]


def attention_log_shares(
    model: LlamaModel, layer: int, hidden: Tensor, cache: Cache, rows: Tensor, columns: Tensor, heads: int
) -> Tensor:
    """Log of the attention of some tokens to the picture's prefix and to their own row.

    Args:
        model: the language model.
        layer: index of the layer.
        hidden: (R, L, D) input of that layer for R question rows; rows of one picture lie together.
        cache: keys of the B pictures' prefixes, P tokens each.
        rows, columns: (M,) which row and which token of it.
        heads: H, the first ones.

    Returns:
        (M, H, P + L), -inf on tokens that come later.
    """
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    block: Any = model.layers[layer]
    attention, keys_of_prefix = block.self_attn, prefix_layer(cache, layer)[0]
    pictures, _, prefix, width = keys_of_prefix.shape
    state = block.input_layernorm(hidden)
    positions = prefix + torch.arange(state.shape[1], device=state.device)[None]
    cos, sin = model.rotary_emb(state, positions)
    shape = (*state.shape[:2], -1, width)
    query, key = (
        project(state).view(shape).transpose(1, 2)[:, :heads] for project in (attention.q_proj, attention.k_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, cos, sin)  # [R, H, L, w]
    asked = query[rows, :, columns].float()  # [M, H, w]
    far = keys_of_prefix[rows // (len(state) // pictures), :heads].float()  # [M, H, P, w]
    near = key[rows].float()  # [M, H, L, w]
    seen = torch.arange(near.shape[2], device=near.device) <= columns[:, None]
    scores = [torch.einsum("mhw,mhpw->mhp", asked, keys) * attention.scaling for keys in (far, near)]
    scores[1] = scores[1].masked_fill(~seen[:, None], -torch.inf)
    return torch.cat(scores, dim=-1).log_softmax(-1)
