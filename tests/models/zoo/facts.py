"""How a family answers many questions about a picture and whether it can be trained on packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sdvlm.models.families import attends_both_ways
from sdvlm.models.prefix import answer_questions
from sdvlm.models.shared_attention import can_share
from sdvlm.train.can_pack import TOLERANCE, packing_error, why_not_packed
from sdvlm.train.config import TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.example import Dialogue, Example
from sdvlm.types import DepthMap, SdvlmError

__all__ = ["Result", "pack_result", "prefix_result"]


@dataclass(frozen=True)
class Result:
    """What came of it: equal to the plain path, or refused, and in words."""

    equal: bool
    refused: bool
    said: str


_COPIED = {True: "copied", False: "one by one"}


def prefix_result(model: Any, processor: Any, frame: Any, questions: Sequence[str]) -> Result:
    try:
        alone = answer_questions(model, processor, frame, questions, max_new_tokens=6, share_prefix=False)
        shared = answer_questions(model, processor, frame, questions, max_new_tokens=6)
    except SdvlmError as error:
        return Result(False, True, f"refused: {error}")
    with torch.no_grad():
        batch = processor.encode_questions(frame, questions[:1])[0]
        cache = model(**batch, use_cache=True).past_key_values
    if attends_both_ways(model.vlm.config):
        return Result(shared == alone, False, _COPIED[False])
    copied = all(hasattr(layer, "batch_repeat_interleave") for layer in cache.layers)
    return Result(shared == alone, False, "shared" if can_share(model.vlm, cache) else _COPIED[copied])


def pack_result(model: Any, processor: Any) -> Result:
    reason = why_not_packed(model.vlm)
    if reason is not None:
        return Result(False, True, reason)
    rng = np.random.default_rng(0)
    asked = tuple(Dialogue((("user", f"Table {i}?"), ("assistant", f"{i}.25 m away")), "absolute") for i in range(2))
    image = rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)
    example = Example("one", "made", asked, (image,), (DepthMap(rng.uniform(1, 4, (50, 70))),), (None,))
    try:
        error = packing_error(model, model.vlm, ExampleEncoder(processor, TrainConfig()), [example])
    except SdvlmError as refusal:
        return Result(False, True, f"refused: {refusal}")
    if error is None:
        return Result(False, True, "its prompts cannot share a picture")
    equal = error < TOLERANCE[torch.float32]
    return Result(equal, not equal, "yes" if equal else "found unequal before training, so rows stay separate")
