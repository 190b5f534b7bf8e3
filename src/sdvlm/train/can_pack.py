"""Whether a model can be trained on packed rows: told by its parts, then by asking it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from sdvlm.models.families import attends_both_ways
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.example import Example
from sdvlm.train.forward import answer_losses, on_device
from sdvlm.types import SdvlmError

__all__ = ["choose_attention", "packing_error", "why_not_packed"]

_MASKED = ("sdpa", "eager", "flex_attention")
"""attention implementations that take any mask"""
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""largest relative difference of an answer's loss, by the arithmetic's precision"""


def choose_attention(vlm: Any, wanted: str, device: str) -> str:
    """Give the language model an attention that takes the mask of packed rows; returns which it has then.

    Args:
        vlm: the vision-language model; its tower keeps its own.
        wanted: ``sdpa``, ``flex_attention``, or ``auto``: the latter on a GPU where the model takes it.
        device: type of the device that training runs on.

    Raises:
        SdvlmError: the model does not take the one that was named.
    """
    decoder = vlm.get_decoder()
    auto = ("flex_attention", "sdpa") if device == "cuda" else ("sdpa",)
    for name in auto if wanted == "auto" else (wanted,):
        try:
            decoder.set_attn_implementation(name)
        except (ValueError, ImportError) as error:
            if wanted != "auto":
                raise SdvlmError(
                    f"the language model does not take attention '{wanted}': {' '.join(str(error).split())[:200]}"
                ) from error
            continue
        if decoder.config._attn_implementation == name:
            return name
    return str(decoder.config._attn_implementation)


def why_not_packed(vlm: Any) -> str | None:
    """Why a model's language model cannot be given the mask of packed rows; None: nothing is known against it."""
    config = vlm.get_decoder().config
    if attends_both_ways(vlm.config):
        return "its prompts attend both ways, so that what it makes of a picture depends on the question"
    if config._attn_implementation not in _MASKED:
        return f"its attention '{config._attn_implementation}' takes no mask of its own; use sdpa or flex_attention"
    kinds = {kind for kind in getattr(config, "layer_types", None) or () if kind != "full_attention"}
    if kinds:
        return f"it has layers of {' and '.join(sorted(kinds))}, whose reach is counted in rows"
    return None


@torch.no_grad()
def packing_error(model: Any, vlm: Any, encoder: ExampleEncoder, examples: Sequence[Example]) -> float | None:
    """Largest relative difference between the losses of answers in packed rows and alone.

    Args:
        model: called as a function, in the state it is trained in but for dropout.
        vlm: inside it.
        encoder: of the run.
        examples: looked at for one with two dialogues that share a picture; the first two of them are asked.

    Returns:
        None where no example has two dialogues that can be packed.
    """
    kept, apart = encoder.unvaried(True), encoder.unvaried(False)
    for example in examples:
        two = replace(example, dialogues=example.dialogues[:2])
        losses = []
        for encoder_as in (kept, apart):
            rows = encoder_as.rows(two)
            if encoder_as.pack and (len(rows) != 1 or len(rows[0].families) < 2):
                break
            batch = encoder_as.stack(rows)
            batch = on_device(batch, vlm.device)
            losses.append(answer_losses(model, vlm, batch)[0])
        if len(losses) == 2:
            packed, alone = losses
            return float(((packed - alone).abs() / alone.abs().clamp(min=1e-2)).max())
    return None
