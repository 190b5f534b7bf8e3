"""The training loop both stages share: AdamW, warm-up and cosine, clipped gradients, a line every hundred steps."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sdvlm.depth.atomic import atomic_file
from sdvlm.nano.recipe import Recipe

__all__ = ["Losses", "run_steps", "save_whole", "schedule"]

log = logging.getLogger("sdvlm.nano.train")

KEPT_EVERY = 250
"""steps between two states of a run that is to go on if it is stopped"""
_MOMENTS = ("exp_avg", "exp_avg_sq")

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
    name: str, total: int, modules: list[nn.Module], lr: float, recipe: Recipe, loss_of: Losses, state: Path
) -> Iterator[tuple[int, dict[str, float]]]:
    """Optimise, and yield the mean of what ``loss_of`` reports every 100 steps.

    Args:
        state: file that weights and optimiser are kept in every ``KEPT_EVERY`` steps; where it is there, training goes
            on from it. It goes when the last step is done and its report was taken.
    """
    optimizer = make_optimizer(modules, lr, recipe.weight_decay)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    first = _restore(optimizer, parameters, state)
    seen: dict[str, list[float]] = {}
    start = time.monotonic()
    for step in range(first, total):
        for group in optimizer.param_groups:
            group["lr"] = lr * schedule(step, total, recipe.warmup)
        loss, report = loss_of(step)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for key, value in report.items():
            seen.setdefault(key, []).append(value)
        if (step + 1) % KEPT_EVERY == 0:
            _keep(optimizer, parameters, step + 1, state)
        if (step + 1) % 100 == 0 or step + 1 == total:
            means = {key: float(np.nanmean(values)) for key, values in seen.items()}
            log.info(
                "%s %d/%d %.0f s %s", name, step + 1, total, time.monotonic() - start,
                " ".join(f"{key} {value:.3f}" for key, value in means.items()),
            )  # fmt: skip
            seen.clear()
            yield step + 1, means
    state.unlink(missing_ok=True)


def _keep(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], step: int, path: Path) -> None:
    tensors = {}
    for index, parameter in enumerate(parameters):
        moments = optimizer.state.get(parameter, {})  # none of what no loss reaches
        tensors[f"{index}.weight"] = parameter.detach().contiguous()
        tensors |= {f"{index}.{key}": moments[key] for key in _MOMENTS if moments}
    with atomic_file(path) as stream:
        stream.write(save(tensors, metadata={"step": str(step)}))


def _restore(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], path: Path) -> int:
    """The step to go on with, 0 without a file."""
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        step, names = int(file.metadata()["step"]), set(file.keys())
        for index, parameter in enumerate(parameters):
            with torch.no_grad():
                parameter.copy_(file.get_tensor(f"{index}.weight"))
            if f"{index}.{_MOMENTS[0]}" in names:
                moments = {key: file.get_tensor(f"{index}.{key}").to(parameter.device) for key in _MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(float(step)), **moments}
    log.info("going on from step %d of %s", step, path.name)
    return step


def save_whole(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with atomic_file(path) as stream:
        stream.write(save(tensors))
