"""What training does to a picture's depth: takes it away, worsens it, or scales it together with every length asked.

A scaled picture is the same picture with all its depth times k; its true lengths are then k times as long. Shown both
ways, only depth can tell them apart, so a model cannot do well by what things usually measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdvlm.data import scale_lengths as data_lengths
from sdvlm.fusion.coordinate import Z_MAX_M, Z_MIN_M
from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.nano.config import PLANES
from sdvlm.nano.facts import scale_facts
from sdvlm.nano.recipe import Recipe
from sdvlm.nano.rows import Targets

__all__ = [
    "Showing",
    "drop_depth",
    "scale_depth",
    "scale_lengths",
    "scale_planes",
    "scaled_targets",
    "worsen_depth",
    "worsen_planes",
]

_LENGTHS = ("z", "z_min", "z_max", "z_std", "x", "y")
_PIXELS = 300
"""pixels of the depth map in a token, about: 320 x 240 on 12 x 12 tokens give 533, fewer where some are unknown"""
_SPREAD = 2.8
"""how many standard deviations the largest of as many normal numbers lies from their mean, about"""
_BLOCKS = 12
"""holes of planes are squares of which as many lie side by side"""
_NEAREST = 0.1
"""metres; noise brings nothing nearer"""


@dataclass(frozen=True)
class Showing:
    """How a picture's depth is shown in a step.

    Args:
        known: whether it is shown at all.
        factor: of all its lengths.
        noisy: whether as a poorer sensor would give it.
    """

    known: bool
    factor: float
    noisy: bool

    @classmethod
    def draw(cls, recipe: Recipe, rng: np.random.Generator) -> Showing:
        """As often each way as the recipe says."""
        if rng.random() < recipe.depth_dropout:
            return cls(False, 1.0, False)
        factor = 1.0
        if rng.random() < recipe.scaled_depth:
            factor = float(np.exp(rng.uniform(-1, 1) * np.log(recipe.largest_scale)))
        return cls(True, factor, rng.random() < recipe.noisy_depth)

    def grid(self, packed: Tensor, rng: np.random.Generator) -> Tensor:
        """A packed grid (N, C) as it is shown."""
        if not self.known:
            return drop_depth(packed)
        scaled = packed if self.factor == 1 else scale_depth(packed, self.factor)
        return worsen_depth(scaled, rng) if self.noisy else scaled

    def planes(self, planes: Tensor, rng: np.random.Generator) -> Tensor:
        """Planes (P, S, S) as they are shown."""
        if not self.known:
            return torch.zeros_like(planes)
        scaled = planes if self.factor == 1 else scale_planes(planes, self.factor)
        return worsen_planes(scaled, rng) if self.noisy else scaled


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
    """A packed grid (N, C) as a poorer sensor would give it: tokens without depth, noise that grows with distance, and
    noise of single pixels, which the mean of a token hardly feels and its least and largest depth feel fully."""
    worse = drop_depth(packed)
    known = torch.from_numpy(rng.random(len(packed)) >= rng.uniform(0, 0.4))
    z = packed[:, CHANNELS.index("z")]
    far = z.nan_to_num().clamp(max=6) / 3
    gain = 1 + _normal(rng, packed, rng.uniform(0, 0.03)) * far
    out = torch.where(known[:, None], packed, worse)
    for name in ("z", "z_min", "z_max", "x", "y"):
        out[:, CHANNELS.index(name)] *= gain
    pixel = float(rng.choice([0.0, rng.uniform(0, 0.7)]))  # metres
    out[:, CHANNELS.index("z")] += _normal(rng, packed, pixel / _PIXELS**0.5)
    out[:, CHANNELS.index("z_min")] -= (_SPREAD * pixel + _normal(rng, packed, 0.3 * pixel)).clamp(min=0)
    out[:, CHANNELS.index("z_max")] += (_SPREAD * pixel + _normal(rng, packed, 0.3 * pixel)).clamp(min=0)
    spread = out[:, CHANNELS.index("z_std")]
    out[:, CHANNELS.index("z_std")] = (spread**2 + pixel**2).sqrt()
    for name in ("z", "z_min", "z_max"):
        out[:, CHANNELS.index(name)].clamp_(min=_NEAREST)
    return out


def _normal(rng: np.random.Generator, packed: Tensor, std: float) -> Tensor:
    return torch.from_numpy(rng.normal(0, std, len(packed)).astype(np.float32))


def scale_planes(planes: Tensor, factor: float) -> Tensor:
    """(P, S, S) planes (``config.PLANES``) of the same picture with every depth ``factor`` times as far."""
    low, high = PLANES.span
    moved = planes[0] + (high - low) * math.log(factor) / math.log(Z_MAX_M / Z_MIN_M)
    return torch.stack([torch.where(planes[1] > 0, moved.clamp(low, high), 0), planes[1]])


def worsen_planes(planes: Tensor, rng: np.random.Generator) -> Tensor:
    """(P, S, S) planes as a poorer sensor would give them: blocks without depth, noise of single pixels in metres."""
    low, high = PLANES.span
    side = planes.shape[-1]
    blocks = torch.from_numpy(rng.random((_BLOCKS, _BLOCKS)) < rng.uniform(0, 0.4))
    lost = blocks.repeat_interleave(-(-side // _BLOCKS), 0).repeat_interleave(-(-side // _BLOCKS), 1)[:side, :side]
    share = (planes[0] - low) / (high - low) * math.log(Z_MAX_M / Z_MIN_M)
    noise = torch.from_numpy(rng.normal(0, 1, planes.shape[1:]).astype(np.float32))
    metres = Z_MIN_M * share.exp() + float(rng.choice([0.0, rng.uniform(0, 0.7)])) * noise
    noisy = low + (high - low) * (metres.clamp(min=Z_MIN_M) / Z_MIN_M).log() / math.log(Z_MAX_M / Z_MIN_M)
    known = (planes[1] > 0) & ~lost
    return torch.stack([torch.where(known, noisy, 0), torch.where(known, planes[1], 0)])


def scale_lengths(question: dict[str, Any], factor: float) -> dict[str, Any] | None:
    """The question (``frames.plain_question``) with every length in it and in its answer times ``factor``.

    None where a length could not be said in as many decimals without rounding it by more than 5 %.
    """
    asked, answer = (data_lengths.scale_lengths(question[part], factor) for part in ("question", "answer"))
    if asked is None or answer is None:
        return None
    return {**question, "question": asked.text, "answer": answer.text}


def scaled_targets(targets: Targets, factor: float) -> Targets:
    """Targets of a picture whose depth is scaled: the same places, longer facts."""
    return replace(targets, facts=scale_facts(targets.facts, factor))
