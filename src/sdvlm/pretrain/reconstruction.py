"""Masked reconstruction of depth in log metres: what keeps metric scale in a depth tower.

Contrast with RGB takes from the tower what RGB does not predict (``info_nce``); here the tower must say the metres of
patches it cannot see, and of those it can. The target is not normalised by picture or patch: that would erase the very
offset that is wanted.

Notation: B pictures of H x W pixels in patches of p x p; N patches a picture, row by row; D width of a trunk feature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdvlm.types import SdvlmError

__all__ = ["DepthDecoder", "Reconstruction", "log_metres", "pixels_of", "reconstruct", "to_picture"]

SCALES = 4
"""of gradient matching: every pixel, every 2nd, 4th, 8th"""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What one batch said.

    Args:
        loss: () float32, mean over pictures; one without known depth counts with 0, so the loss of a batch is the mean
            of those of its parts.
        error: () mean |log prediction - log truth| over the known pixels of masked patches, without gradient; NaN where
            there are none.
    """

    loss: Tensor
    error: Tensor


class DepthDecoder(nn.Module):
    """Trunk feature of a patch to log metres of its pixels: the patch's mean linearly, the detail around it by an MLP.

    It sees one token at a time, so what it needs must lie in that token; and the mean must be linear in it (up to the
    token's layer norm), which is how a projector reads it and how the probe (``measures.ridge_probe``) tests it. A
    decoder that attends, or a deep one, could be right while no such thing holds.

    Args:
        width: D.
        patch: p, pixels.
        hidden: width of the MLP.
        start_m: depth it says before training, metres.
    """

    def __init__(self, width: int, patch: int, hidden: int = 256, start_m: float = 2.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.level = nn.Linear(width, 1)
        self.detail = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, patch * patch))
        nn.init.zeros_(self.level.weight)
        nn.init.constant_(self.level.bias, math.log(start_m))

    def forward(self, features: Tensor) -> Tensor:
        """(..., D) to (..., p * p) log metres, pixels row by row."""
        normed = self.norm(features)
        detail = self.detail(normed)
        out: Tensor = self.level(normed) + detail - detail.mean(dim=-1, keepdim=True)
        return out


def log_metres(metres: Tensor) -> tuple[Tensor, Tensor]:
    """Log of depth, 0 where it is unknown (not finite, or not positive), and where it is known (bool)."""
    known = metres.isfinite() & (metres > 0)
    return torch.where(known, metres, 1.0).float().log(), known


def to_picture(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, N, p * p) values of the pixels of each patch to (B, H, W).

    Args:
        patches: patches row by row, and pixels row by row within.
        grid: (rows, columns) of patches.
    """
    rows, columns = grid
    side = math.isqrt(patches.shape[2])
    cut = patches.reshape(len(patches), rows, columns, side, side)
    return cut.transpose(2, 3).reshape(len(patches), rows * side, columns * side)


def pixels_of(mask: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """(B, N) of patches to (B, H, W): each patch's value at each of its pixels."""
    return to_picture(mask[..., None].expand(*mask.shape, patch * patch), grid)


def reconstruct(
    prediction: Tensor,
    metres: Tensor,
    masked: Tensor,
    grid: tuple[int, int],
    visible_weight: float = 0.1,
    gradient_weight: float = 0.5,
) -> Reconstruction:
    """L1 and multi-scale gradient matching of log depth on known pixels, in float32.

    Gradient matching (MegaDepth, arXiv 1804.00607; MiDaS, arXiv 1907.01341) is the mean absolute difference of the
    error between neighbouring pixels, at ``SCALES`` strides; it asks for edges where the depth has them and is blind to
    a constant offset, which L1 sees.

    Args:
        prediction: (B, N, p * p) log metres, as :class:`DepthDecoder` gives them.
        metres: (B, H, W) metric depth of the pixels the tower reads; not finite or not positive where unknown.
        masked: (B, N) bool, patches hidden from the tower.
        grid: (rows, columns) of patches.
        visible_weight: of pixels the tower saw, against 1 for hidden ones.
        gradient_weight: of gradient matching against 1 for L1.

    Raises:
        SdvlmError: the shapes do not fit.
    """
    rows, columns = grid
    side = math.isqrt(prediction.shape[-1]) if prediction.ndim == 3 else 0
    wanted = {
        "prediction": (len(metres), rows * columns, side * side),
        "metres": (len(metres), rows * side, columns * side),
        "masked": (len(metres), rows * columns),
    }
    for (name, shape), one in zip(wanted.items(), (prediction, metres, masked), strict=True):
        if tuple(one.shape) != shape or not side:
            raise SdvlmError(f"{name} must be {[*shape]} for {rows} x {columns} patches; got {[*one.shape]}")
    with torch.autocast(prediction.device.type, enabled=False):
        truth, known = log_metres(metres)
        hidden = pixels_of(masked, grid, side)
        weight = known * torch.where(hidden, 1.0, visible_weight)  # (B, H, W)
        error = (to_picture(prediction.float(), grid) - truth) * known
        each = _mean(error.abs(), weight)
        if gradient_weight:
            each = each + gradient_weight * _gradient(error, weight)
        loss = each.mean()
    with torch.no_grad():
        asked = known & hidden
        return Reconstruction(loss, error.abs()[asked].mean())


def _gradient(error: Tensor, weight: Tensor) -> Tensor:
    """(B,) mean over scales and both directions; a pair of pixels weighs as the lighter of the two."""
    total, terms = error.new_zeros(len(error)), 0
    for power in range(SCALES):
        e, w = error[:, :: 2**power, :: 2**power], weight[:, :: 2**power, :: 2**power]
        for axis in (1, 2):
            size = e.shape[axis] - 1
            if size < 1:
                continue
            step = e.narrow(axis, 1, size) - e.narrow(axis, 0, size)
            total = total + _mean(step.abs(), torch.minimum(w.narrow(axis, 1, size), w.narrow(axis, 0, size)))
            terms += 1
    return total / max(terms, 1)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """(B,) weighted mean of each picture; 0 where nothing weighs."""
    total = weight.sum(dim=(1, 2))
    return (values * weight).sum(dim=(1, 2)) / torch.where(total > 0, total, 1.0)
