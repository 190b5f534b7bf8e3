"""One batch out of the batches of all training processes, with gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

from sdvlm.types import SdvlmError

__all__ = ["gathered"]


def gathered(rows: Tensor) -> Tensor:
    """Rows of all processes behind each other, in order of rank; the same tensor where there is one process only.

    Every process is to take the same loss of all rows and then to average gradients over the processes (as
    DistributedDataParallel or ``processes.average_gradients`` does). Each contributes the gradient of its own rows
    alone, so the average would be too small by the number of processes; the gradient is multiplied by that number here.
    What enters the loss in every process alike, such as a learned temperature, needs no such care. Nothing is sent in
    the backward pass.

    Args:
        rows: (N, ...) of this process; N may differ between processes, the rest may not. Whole numbers have no
            gradient.

    Raises:
        SdvlmError: a single number, which has no rows.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    if not rows.ndim:
        raise SdvlmError("a single number has no rows to gather; give a tensor of at least one dimension")
    out: Tensor = _Gather.apply(rows)
    return out


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        world, rank = distributed.get_world_size(), distributed.get_rank()
        counts = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(world)]
        distributed.all_gather(counts, torch.tensor(len(rows), device=rows.device))
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(world)]
        distributed.all_gather(parts, padded)
        ctx.start, ctx.size, ctx.world = sum(sizes[:rank]), sizes[rank], world
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        own: Tensor = gradients[0][ctx.start : ctx.start + ctx.size] * ctx.world
        return own
