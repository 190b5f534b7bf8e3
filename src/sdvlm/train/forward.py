"""A training pass: where tokens stand, whom they see, and the loss of what they say.

The model's own ``forward`` is called once for a batch, with positions and mask of a packed batch, and makes logits for
the tokens that are learned alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sdvlm.models.families import position_axes
from sdvlm.train.packing import IGNORED, block_mask, flex_block_mask, places

__all__ = ["answer_losses", "attention_of", "on_device", "positions_of"]

_OURS = ("labels", "segments", "families")
"""keys of a batch that are not for the model"""


def answer_losses(model: Any, vlm: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every learned token of a batch, and where it stands.

    Args:
        model: a ``DepthVLM`` or what wraps it (DDP, FSDP), called as a function.
        vlm: the vision-language model inside, for its config and its way of placing tokens.
        batch: ``train.encode``'s: the model's inputs, ``labels`` and ``segments``.

    Returns:
        (K,) float32 losses in nats, and their (K, 2) row and token indices, in the order of rows and tokens.
    """
    labels, segments = batch["labels"], batch["segments"]
    inputs = {name: value for name, value in batch.items() if name not in _OURS}
    if bool((segments > 0).any()):
        inputs["position_ids"] = positions_of(vlm, batch)
        inputs["attention_mask"] = attention_of(vlm, segments)
    rows, tokens = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)  # [K]: the token before each learned one says it
    kept, place = tokens.unique(return_inverse=True)
    if "logits_to_keep" in inspect.signature(vlm.forward).parameters:
        inputs["logits_to_keep"] = kept
    else:
        place = tokens
    logits = model(**inputs, use_cache=False).logits[rows, place]  # [K, V]
    losses = F.cross_entropy(logits.float(), labels[rows, tokens + 1], reduction="none")
    return losses, torch.stack([rows, tokens + 1], dim=1)


def on_device(batch: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
    """The batch with its tensors on a device."""
    return {name: one.to(device) if isinstance(one, Tensor) else one for name, one in batch.items()}


def positions_of(vlm: Any, batch: Mapping[str, Any]) -> Tensor:
    """(B, L) positions of the tokens of packed rows, (3, B, L) where the model's positions have three axes.

    Every dialogue goes on where the prefix ends; with three axes that is one past the largest position of the prefix,
    as in the model's own ``get_rope_index``.
    """
    segments = batch["segments"]
    found = places(segments)
    if position_axes(vlm.config) == 1:
        return found
    prefix = segments == 0
    place = vlm.base_model.get_rope_index
    wanted = inspect.signature(place).parameters
    given = {name: value for name, value in batch.items() if name in wanted} | {"attention_mask": prefix.long()}
    axes, _ = place(**given)  # [3, B, L], right where the prefix is
    count = prefix.sum(dim=1, keepdim=True)
    end = axes.masked_fill(~prefix, -1).amax(dim=(0, 2))[:, None] + 1  # [B, 1]
    behind = torch.where(segments > 0, found - count + end, 0)
    return torch.where(prefix, axes, behind)


def attention_of(vlm: Any, segments: Tensor) -> Any:
    """The mask of packed rows in the form the language model's attention takes: block mask, bool or added float."""
    implementation = vlm.get_decoder().config._attn_implementation
    if implementation == "flex_attention":
        return flex_block_mask(segments)
    mask = block_mask(segments)
    if implementation == "eager":
        low = torch.finfo(vlm.dtype).min
        return torch.zeros(mask.shape, dtype=vlm.dtype, device=mask.device).masked_fill(~mask, low)
    return mask
