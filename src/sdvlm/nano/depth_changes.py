"""What training does to a picture's depth: takes it away, worsens it, or scales it together with every length asked.

A scaled picture is the same picture with all its depth times k; its true lengths are then k times as long. Shown both
ways, only depth can tell them apart, so a model cannot do well by what things usually measure.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.nano.facts import scale_facts
from sdvlm.nano.numbers import NumberTokens
from sdvlm.nano.rows import EncodedQuestion, Targets

__all__ = ["drop_depth", "scale_depth", "scale_lengths", "scaled_targets", "worsen_depth"]

_LENGTHS = ("z", "z_min", "z_max", "z_std", "x", "y")


def drop_depth(packed: Tensor) -> Tensor:
    """A packed grid as it is for a picture without depth."""
    out = packed.clone()
    for name in _LENGTHS:
        out[..., CHANNELS.index(name)] = torch.nan
    for name in ("valid", "kind"):
        out[..., CHANNELS.index(name)] = 0
    return out


def scale_depth(packed: Tensor, factor: float) -> Tensor:
    """A packed grid with every length ``factor`` times as long; rays and shares stay."""
    out = packed.clone()
    for name in _LENGTHS:
        out[..., CHANNELS.index(name)] *= factor
    return out


def worsen_depth(packed: Tensor, rng: np.random.Generator) -> Tensor:
    """A packed grid (N, C) as a poorer sensor would give it: noise that grows with distance, tokens without depth."""
    worse = drop_depth(packed)
    known = torch.from_numpy(rng.random(len(packed)) >= rng.uniform(0, 0.4))
    noise = torch.from_numpy(rng.normal(0, rng.uniform(0, 0.03), len(packed)).astype(np.float32))
    z = packed[:, CHANNELS.index("z")]
    gain = 1 + noise * z.nan_to_num().clamp(max=6) / 3
    out = torch.where(known[:, None], packed, worse)
    for name in ("z", "z_min", "z_max", "x", "y"):
        out[:, CHANNELS.index(name)] *= gain
    return out


def scale_lengths(question: EncodedQuestion, factor: float, numbers: NumberTokens) -> EncodedQuestion | None:
    """The question with every length in it and in its answer times ``factor``; None if one would not fit d.dd."""
    ids = list(question.ids)
    for start in numbers.starts(ids):
        if numbers.is_length(ids, start):
            length = round(numbers.read(ids, start) * factor)
            if not 0 < length < 1000:
                return None
            numbers.write(ids, start, length)
    return replace(question, ids=ids)


def scaled_targets(targets: Targets, factor: float) -> Targets:
    """Targets of a picture whose depth is scaled: the same places, longer facts."""
    return replace(targets, facts=scale_facts(targets.facts, factor))
