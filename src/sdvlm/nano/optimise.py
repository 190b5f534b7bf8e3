"""The training loop both stages share: AdamW, warm-up and cosine, clipped gradients, a line every hundred steps."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from sdvlm.depth.atomic import atomic_file
from sdvlm.nano.recipe import Recipe

__all__ = ["Losses", "run_steps", "save_whole", "schedule"]

log = logging.getLogger("sdvlm.nano.train")

Losses = Callable[[int], tuple[Tensor, dict[str, float]]]
"""step -> loss to minimise, and numbers to report"""


def schedule(step: int, total: int, warmup: float) -> float:
    """Learning-rate factor: linear rise, cosine fall to 0.02."""
    rise = max(1, int(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def make_optimizer(modules: list[nn.Module], lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with decay on matrices only; shared parameters once."""
    parameters = list({id(p): p for module in modules for p in module.parameters()}.values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)


def run_steps(
    name: str, total: int, modules: list[nn.Module], lr: float, recipe: Recipe, loss_of: Losses
) -> Iterator[tuple[int, dict[str, float]]]:
    """Optimise, and yield the mean of what ``loss_of`` reports every 100 steps."""
    optimizer = make_optimizer(modules, lr, recipe.weight_decay)
    seen: dict[str, list[float]] = {}
    start = time.monotonic()
    for step in range(total):
        for group in optimizer.param_groups:
            group["lr"] = lr * schedule(step, total, recipe.warmup)
        loss, report = loss_of(step)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for key, value in report.items():
            seen.setdefault(key, []).append(value)
        if (step + 1) % 100 == 0 or step + 1 == total:
            means = {key: float(np.nanmean(values)) for key, values in seen.items()}
            log.info(
                "%s %d/%d %.0f s %s", name, step + 1, total, time.monotonic() - start,
                " ".join(f"{key} {value:.3f}" for key, value in means.items()),
            )  # fmt: skip
            seen.clear()
            yield step + 1, means


def save_whole(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with atomic_file(path) as stream:
        stream.write(save(tensors))
