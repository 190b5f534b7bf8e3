"""Contrast of depth and RGB patches within one picture: which patch of the depth map is this patch of the picture?

Notation: B pictures, N patches each, E width of an embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sdvlm.pretrain.info_nce import unit
from sdvlm.types import SdvlmError

__all__ = ["PatchContrast", "patch_contrast"]

KNOWN = 0.5
"""least share of known pixels of a patch that takes part"""


@dataclass(frozen=True, eq=False)
class PatchContrast:
    """What one batch said.

    Args:
        loss: () float32 nats, mean of both directions over the patches of a picture, then over pictures. A picture
            without a patch that takes part counts with 0, so the loss of a batch is the mean of those of its parts.
        accuracy: () share of taking patches whose nearest patch is their own, mean of both directions.
        chance: () what guessing among the candidates gives.
        taking: () share of patches that took part.
    """

    loss: Tensor
    accuracy: Tensor
    chance: Tensor
    taking: Tensor


def patch_contrast(
    depth: Tensor,
    rgb: Tensor,
    valid: Tensor,
    log_scale: Tensor,
    same: float = 0.9,
    teacher: Tensor | None = None,
) -> PatchContrast:
    """Symmetric cross-entropy over the N x N cosines of each picture (CoMAE, arXiv 2302.06148, stage 1), in float32.

    Patches of too little known depth take no part, neither as question nor as candidate. Patches of near equal RGB
    features (one wall) are not each other's negatives. Where both sides know the place of a patch (position
    embeddings) the place is the answer and depth need not be read: encode without them
    (``tower_body.TowerBody.without_places``).

    Args:
        depth: (B, N, E) projected features of depth patches.
        rgb: (B, N, E) projected features of the RGB patches at the same places.
        valid: (B, N) share of known pixels of each depth patch, 0..1.
        log_scale: () log of the factor on cosines (``info_nce.Temperature``).
        same: two patches whose RGB cosine is larger are ignored as negatives of each other; 1: none are.
        teacher: (B, N, F) features to judge ``same`` by; None: ``rgb``. Features with a dominant common direction
            (CLIP, SigLIP) make all patches the same: give centred ones.

    Raises:
        SdvlmError: the shapes do not fit.
    """
    teacher = rgb if teacher is None else teacher
    fits = depth.ndim == 3 and depth.shape == rgb.shape and teacher.shape[:-1] == depth.shape[:-1] == valid.shape
    if not fits:
        got = ", ".join(str([*one.shape]) for one in (depth, rgb, valid, teacher))
        raise SdvlmError(
            f"patch features must be (pictures, patches, width) with validity (pictures, patches); got {got}"
        )
    pictures, patches = valid.shape
    with torch.autocast(depth.device.type, enabled=False):
        judge = unit(teacher.detach())
        takes = valid >= KNOWN  # (B, N)
        ignored = judge @ judge.mT > same  # (B, N, N)
        ignored |= ~takes[:, None] | ~takes[:, :, None]
        ignored.diagonal(dim1=1, dim2=2).fill_(False)
        cosine = unit(depth) @ unit(rgb).mT  # row a depth patch, column an RGB patch
        logits = (log_scale.float().exp() * cosine).masked_fill(ignored, -math.inf)
        own = torch.arange(patches, device=depth.device).expand(pictures, patches)
        sides = (logits, logits.mT)
        cost = sum((F.cross_entropy(side.mT, own, reduction="none") for side in sides), torch.zeros_like(valid)) / 2
        loss = ((cost * takes).sum(1) / takes.sum(1).clamp(min=1)).mean()
    with torch.no_grad():
        count = takes.sum().clamp(min=1)
        hits = sum(((side.argmax(2) == own) & takes).sum() for side in sides)
        guess = (takes / (~ignored).sum(2)).sum()
        return PatchContrast(loss, hits / (2 * count), guess / count, takes.float().mean())
