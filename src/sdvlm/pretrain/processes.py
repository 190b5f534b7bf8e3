"""Several training processes as ``torchrun`` starts them: who am I, mean of gradients, wait for each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

__all__ = ["average_gradients", "process_group", "rank", "wait", "world"]


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the group that ``torchrun`` describes in the environment; nothing to do without it or inside one."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1 or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 where there is one only."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def wait() -> None:
    """Until all processes are here."""
    if world() > 1:
        distributed.barrier()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its mean over the processes; a part only some of them used counts as zero in others."""
    if world() == 1:
        return
    trained = [one for one in parameters if one.requires_grad]
    if not trained:
        return
    used = torch.tensor([one.grad is not None for one in trained], dtype=torch.int32, device=trained[0].device)
    distributed.all_reduce(used, op=distributed.ReduceOp.MAX)
    for parameter, wanted in zip(trained, used.tolist(), strict=True):
        if wanted:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= world()
