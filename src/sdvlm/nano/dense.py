"""First stage of training: the tower learns, for each patch, what it shows.

Dense labels are free in procedural rooms. A tower that already says category, colour, extent and distance of what lies
under each patch makes binding "the red chair" to its place an easy task for the language model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DenseHeads", "DenseLabels", "dense_labels"]


@dataclass(frozen=True)
class DenseLabels:
    """Per-patch truth of a batch. B pictures, N patches, K categories with background first.

    Args:
        category: (B, N, K) share of the patch that each category covers, sums to 1.
        color: (B, N) long, colour of the object that covers most of the patch, -1 where it has no word.
        bounds: (B, N, 4) left, top, right, bottom of that object's visible box relative to the patch centre, in image
            sides; NaN where no object covers a third of the patch.
        center: (B, N) 1 where an object's visible centre lies in the patch.
        log_z: (B, N) log of the mean depth in metres, NaN where unknown.
    """

    category: Tensor
    color: Tensor
    bounds: Tensor
    center: Tensor
    log_z: Tensor

    def to(self, device: torch.device) -> DenseLabels:
        """The same on a device."""
        return DenseLabels(*(getattr(self, one.name).to(device) for one in fields(self)))


def dense_labels(
    coverage: Tensor, categories: Tensor, colors: Tensor, boxes: Tensor, z: Tensor, num_categories: int
) -> DenseLabels:
    """Labels of one picture (B = 1).

    Args:
        coverage: (M, N) share of each patch that each of M objects covers, 0..1.
        categories: (M,) long, 1..K-1.
        colors: (M,) long, -1 for no colour word.
        boxes: (M, 4) visible box of each object, left, top, right, bottom in image sides, 0..1.
        z: (N,) mean depth of each patch, NaN where unknown.
        num_categories: K, background included.
    """
    count, patches = coverage.shape
    side = round(patches**0.5)
    category = torch.zeros(patches, num_categories)
    category.index_add_(1, categories, coverage.T.contiguous())
    category[:, 0] = (1 - category[:, 1:].sum(dim=1)).clamp(min=0)
    color = torch.full((patches,), -1)
    bounds = torch.full((patches, 4), torch.nan)
    center = torch.zeros(patches)
    if count:
        share, owner = coverage.max(dim=0)
        owned = share >= 1 / 3
        color[owned] = colors[owner[owned]]
        grid = (torch.arange(side) + 0.5) / side
        middle = torch.stack([grid.repeat(side), grid.repeat_interleave(side)], dim=-1)  # (N, 2): x, y
        bounds[owned] = (boxes[owner] - middle.repeat(1, 2))[owned]
        cell = (((boxes[:, :2] + boxes[:, 2:]) / 2) * side).long().clamp(0, side - 1)
        center[cell[:, 1] * side + cell[:, 0]] = 1
    return DenseLabels(category[None], color[None], bounds[None], center[None], torch.log(z)[None])


class DenseHeads(nn.Module):
    """Linear read-outs of the tower's patch features, used in the first stage only."""

    def __init__(self, width: int, num_categories: int, num_colors: int) -> None:
        super().__init__()
        self.sizes = (num_categories, num_colors, 4, 1, 1)
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, sum(self.sizes))

    def losses(self, features: Tensor, labels: DenseLabels) -> dict[str, Tensor]:
        """Mean loss of each label. ``features``: (B, N, width)."""
        category, color, bounds, center, log_z = self.read(self.norm(features)).float().split(self.sizes, dim=-1)
        placed, deep = ~labels.bounds[..., 0].isnan(), ~labels.log_z.isnan()
        weight = torch.where(labels.category[..., 0] > 0.99, 0.3, 1.0)  # most patches are plain wall or floor
        per_patch = -(labels.category * category.log_softmax(-1)).sum(-1)
        return {
            "category": (per_patch * weight).sum() / weight.sum(),
            "color": F.cross_entropy(color.flatten(0, 1), labels.color.flatten(), ignore_index=-1),
            "bounds": F.smooth_l1_loss(bounds[placed], labels.bounds[placed], beta=0.05) * 4,
            "center": F.binary_cross_entropy_with_logits(
                center.squeeze(-1), labels.center, pos_weight=torch.tensor(8.0, device=center.device)
            ),
            "log_z": F.smooth_l1_loss(log_z.squeeze(-1)[deep], labels.log_z[deep], beta=0.2),
        }

    @torch.no_grad()
    def accuracy(self, features: Tensor, labels: DenseLabels) -> dict[str, float]:
        """Share of object patches whose category and colour are right, and the median error of the bounds."""
        category, color, bounds, _, log_z = self.read(self.norm(features)).float().split(self.sizes, dim=-1)
        truth = labels.category.argmax(-1)
        shown, colored, placed = truth > 0, labels.color >= 0, ~labels.bounds[..., 0].isnan()
        return {
            "category": float((category.argmax(-1) == truth)[shown].float().mean()),
            "background": float((category.argmax(-1) == truth)[~shown].float().mean()),
            "color": float((color.argmax(-1) == labels.color)[colored].float().mean()),
            "bounds": float((bounds - labels.bounds)[placed].abs().median()),
            "log_z": float((log_z.squeeze(-1) - labels.log_z).abs().nanmedian()),
        }
