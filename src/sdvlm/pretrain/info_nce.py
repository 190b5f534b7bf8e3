"""Contrast of depth and RGB pictures: InfoNCE both ways, and its temperature.

Notation: B pairs, E width of an embedding.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdvlm.types import SdvlmError

__all__ = ["FALSE_NEGATIVES", "NO_SCENE", "InfoNCE", "Temperature", "info_nce", "scene_numbers", "unit"]

FALSE_NEGATIVES = ("keep", "mask")
"""what is done with two frames of one scene in a batch: they repel each other, or they ignore each other"""
NO_SCENE = -1
"""number of a pair whose scene is not known; it shares its scene with nobody"""


@dataclass(frozen=True, eq=False)
class InfoNCE:
    """What one batch said.

    Args:
        loss: () float32, mean of both directions, nats; ln B where nothing has been learned.
        depth_to_rgb: () share of depth pictures whose nearest RGB picture of the batch is their own, without gradient.
        rgb_to_depth: the same the other way.
        ignored: () share of the off-diagonal pairs that were masked as false negatives.
    """

    loss: Tensor
    depth_to_rgb: Tensor
    rgb_to_depth: Tensor
    ignored: Tensor


class Temperature(nn.Module):
    """Logarithm of what cosines are multiplied by before the softmax: -log(temperature).

    CLIP (arXiv 2103.00020) learns it from 0.07 and clamps the scale to 100; ImageBind fixes 0.2 for depth. Learned or
    not, it is saved with the module. It has no dimension, so an optimizer that spares parameters of fewer than two
    dimensions leaves it without weight decay, as it must be. Call :meth:`clamp_` after each step.

    Args:
        initial: temperature to start from (or to stay at), at most 1.
        learned: whether it is a parameter.
        max_scale: upper bound of 1 / temperature.

    Raises:
        SdvlmError: the temperature is not within 1 / max_scale to 1.
    """

    log_scale: Tensor

    def __init__(self, initial: float = 0.07, learned: bool = False, max_scale: float = 100.0) -> None:
        super().__init__()
        if not 1 / max_scale <= initial <= 1:
            raise SdvlmError(f"temperature must lie between {1 / max_scale:g} and 1; got {initial}")
        self.max_scale = max_scale
        start = torch.tensor(-math.log(initial))
        if learned:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    def forward(self) -> Tensor:
        """() log scale."""
        return self.log_scale

    @property
    def temperature(self) -> float:
        """What cosines are divided by."""
        return math.exp(-float(self.log_scale.detach()))

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the scale back to between 1 and ``max_scale``."""
        self.log_scale.clamp_(0.0, math.log(self.max_scale))


def scene_numbers(scene_ids: Sequence[str]) -> Tensor:
    """(B,) int64: one number a scene, the same in every process; ``NO_SCENE`` for an empty name."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in scene_ids)
    numbers = [
        int.from_bytes(digest, "big") >> 1 if name else NO_SCENE
        for name, digest in zip(scene_ids, digests, strict=True)
    ]
    return torch.tensor(numbers, dtype=torch.int64)


def unit(features: Tensor) -> Tensor:
    """Features as float32 of length one along the last dimension, whatever dtype they came in."""
    return F.normalize(features.float(), dim=-1, eps=1e-6)


def info_nce(
    depth: Tensor,
    rgb: Tensor,
    log_scale: Tensor,
    scene_ids: Tensor | Sequence[str] | None = None,
    false_negatives: str = "keep",
    gathered: Callable[[Tensor], Tensor] | None = None,
) -> InfoNCE:
    """Symmetric InfoNCE (arXiv 1807.03748; both ways as in CLIP, arXiv 2103.00020), in float32 also under autocast.

    Against a frozen RGB teacher this alone takes from the depth features what RGB does not predict, the metric scale
    first of all, while retrieval gets perfect: add a reconstruction of depth (``reconstruction``).

    Args:
        depth: (B, E) projected features of the depth pictures; row i belongs to row i of ``rgb``.
        rgb: (B, E) projected features of the RGB pictures.
        log_scale: () log of the factor on cosines, see :class:`Temperature`.
        scene_ids: (B,) int64 numbers (:func:`scene_numbers`; ``NO_SCENE`` where not known) or names of the scenes.
        false_negatives: "keep", or "mask": another pair of the same scene is no negative.
        gathered: brings the rows of all processes together, with gradient (``gather.gathered``); None: these rows only.

    Raises:
        SdvlmError: the shapes do not fit, or masking is asked for without scenes.
    """
    if depth.ndim != 2 or depth.shape != rgb.shape:
        raise SdvlmError(f"depth and RGB features must both be (pairs, width); got {[*depth.shape]} and {[*rgb.shape]}")
    if false_negatives not in FALSE_NEGATIVES:
        raise SdvlmError(f"no way '{false_negatives}' with false negatives; choose one of {', '.join(FALSE_NEGATIVES)}")
    if false_negatives == "mask" and scene_ids is None:
        raise SdvlmError("masking false negatives needs the scene of every pair; give scene_ids, or keep them")
    scenes = None
    if scene_ids is not None:
        scenes = scene_ids if isinstance(scene_ids, Tensor) else scene_numbers(scene_ids)
        if scenes.shape != depth.shape[:1]:
            raise SdvlmError(f"one scene a pair is wanted; got {scenes.numel()} scenes for {len(depth)} pairs")
        scenes = scenes.to(depth.device)
    with torch.autocast(depth.device.type, enabled=False):
        a, b = unit(depth), unit(rgb)
        if gathered is not None:
            a, b = gathered(a), gathered(b)
            scenes = None if scenes is None else gathered(scenes)
        logits = log_scale.float().exp() * a @ b.T  # (B, B): row a depth picture, column an RGB picture
        own = torch.arange(len(a), device=a.device)
        same = torch.zeros_like(logits, dtype=torch.bool)
        if false_negatives == "mask" and scenes is not None:
            same = (scenes[:, None] == scenes) & (scenes != NO_SCENE)
            same.fill_diagonal_(False)
            logits = logits.masked_fill(same, -math.inf)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    with torch.no_grad():
        others = max(same.numel() - len(same), 1)
        hits = [(side.argmax(dim=1) == own).float().mean() for side in (logits, logits.T)]
        return InfoNCE(loss, hits[0], hits[1], same.sum() / others)
