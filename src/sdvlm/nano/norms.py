"""Norms of the language model in one operation, for training: stock Llama's take six, and widen what follows.

A stock norm returns float32 where its weight is float32 and its input bfloat16, so that every product behind it narrows
the states again. Here the states keep their precision; the sums are in float32 as they are there. The weights are the
model's own, and the model that is exported has stock norms.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["use_fused_norms"]


def use_fused_norms(model: nn.Module) -> None:
    """Let every RMS norm of a Llama compute as one operation, in place."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            module.forward = partial(_rms_norm, module)  # type: ignore[method-assign]


def _rms_norm(norm: Any, states: Tensor) -> Tensor:
    fused = F.rms_norm(states.float(), states.shape[-1:], norm.weight.float(), norm.variance_epsilon)
    return fused.to(states.dtype)
