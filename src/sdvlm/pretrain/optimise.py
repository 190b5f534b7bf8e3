"""AdamW with two learning rates, one for new parts and one for the cloned tower, and their schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["make_optimizer", "schedule", "set_rates"]


def schedule(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rates at a step: linear rise over a share of the steps, then a cosine to zero."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def make_optimizer(
    new: Iterable[nn.Module],
    cloned: Iterable[nn.Module],
    lr: float,
    tower_lr: float,
    weight_decay: float,
    no_decay: Iterable[nn.Module] = (),
) -> torch.optim.AdamW:
    """Each parameter once; one that is in ``new`` has the rate of new parts even if ``cloned`` holds it too.

    Args:
        new: parts that start from random weights.
        cloned: parts that start from pre-trained ones.
        lr: of new parts.
        tower_lr: of cloned parts; 0 leaves them as they are.
        weight_decay: of parameters with two or more dimensions.
        no_decay: of ``new``, parts without decay whatever their shape, such as a temperature.
    """
    free = {id(one) for part in no_decay for one in part.parameters()}
    seen: set[int] = set()
    groups = []
    for parts, rate in ((new, lr), (cloned, tower_lr)):
        mine = [one for part in parts for one in part.parameters() if one.requires_grad]
        once = [one for one in mine if not (id(one) in seen or seen.add(id(one)))]  # type: ignore[func-returns-value]
        for decays in (True, False):
            chosen = [one for one in once if (one.ndim >= 2 and id(one) not in free) == decays]
            decay = weight_decay if decays else 0.0
            groups.append({"params": chosen, "lr": rate, "full_lr": rate, "weight_decay": decay})
    return torch.optim.AdamW([one for one in groups if one["params"]], betas=(0.9, 0.98))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to ``factor`` of its full one."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * factor
