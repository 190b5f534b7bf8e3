"""A depth estimator of the ablation's own: a small head on the frozen tower's patch features.

It is trained in the run, on the same pictures as the cells, so that "depth from an estimate" means: nothing but the
picture is known. What it reads is what the vision-language model's own tower holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdvlm.nano.optimise import make_optimizer, schedule

__all__ = ["DepthHead", "EstimateQuality", "predict", "quality", "train_head"]

_LR = 2e-3


class DepthHead(nn.Module):
    """Patch features to log metres.

    Args:
        width: of the features.
        side: patches per row and column; each place has a learned offset, as floors are below and walls behind.
    """

    def __init__(self, width: int, side: int, hidden: int = 256) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.place = nn.Parameter(torch.zeros(side * side, width))
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1)
        )

    def forward(self, features: Tensor, patch: Tensor) -> Tensor:
        """(M,) log metres of (M, width) features at (M,) places."""
        found: Tensor = self.mlp(self.norm(features) + self.place[patch])[:, 0]
        return found


@dataclass(frozen=True)
class EstimateQuality:
    """Errors over the patches of held-out pictures.

    Args:
        abs_rel: mean of |estimate - true| / true.
        delta1: share with max(estimate / true, true / estimate) below 1.25.
    """

    abs_rel: float
    delta1: float


def train_head(features: Tensor, z: Tensor, side: int, steps: int, seed: int, batch: int = 4096) -> DepthHead:
    """A trained head.

    Args:
        features: (F, N, width) of the training pictures.
        z: (F, N) mean depth of each patch in metres, NaN where unknown.
        side: patches per row.
        steps: of the optimiser.
        seed: of weights and order.
        batch: patches a step.
    """
    torch.manual_seed(seed)
    head = DepthHead(features.shape[-1], side)
    optimizer = make_optimizer([head], _LR, 0.01)
    generator = torch.Generator().manual_seed(seed)
    pictures, patches = torch.nonzero(~z.isnan(), as_tuple=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _LR * schedule(step, steps, 0.05)
        chosen = torch.randint(len(pictures), (batch,), generator=generator)
        at = pictures[chosen], patches[chosen]
        loss = nn.functional.smooth_l1_loss(head(features[at].float(), at[1]), z[at].log(), beta=0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return head.eval()


@torch.no_grad()
def predict(head: DepthHead, features: Tensor, pictures: int = 64) -> Tensor:
    """(F, N) log metres of (F, N, width) features."""
    found = []
    for part in features.split(pictures):
        place = torch.arange(part.shape[1]).repeat(len(part))
        found.append(head(part.flatten(0, 1).float(), place).view(part.shape[:2]))
    return torch.cat(found)


def quality(log_z: Tensor, z: Tensor) -> EstimateQuality:
    """How good (F, N) estimates in log metres are beside (F, N) metres; patches without depth are left out."""
    known = ~z.isnan()
    ratio = (log_z[known].double() - z[known].double().log()).exp()
    worse = torch.maximum(ratio, 1 / ratio)
    return EstimateQuality(float((ratio - 1).abs().mean()), float((worse < 1.25).double().mean()))
