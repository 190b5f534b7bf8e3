"""Evaluation during training: the loss of held-out answers, by family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sdvlm.data.schema import QuestionType
from sdvlm.train.example import GENERAL, Example
from sdvlm.train.forward import answer_losses, on_device

__all__ = ["Held", "heldout_losses", "share_of"]

FAMILIES = (*(family.value for family in QuestionType), GENERAL)


class Held(Dataset[Example]):
    """Held-out examples, with their depth or without.

    Args:
        examples: a map-style data set.
        depth: show it.
    """

    def __init__(self, examples: Any, depth: bool) -> None:
        self.examples, self.depth = examples, depth

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        example: Example = self.examples[index]
        return example if self.depth else replace(example, depth=())


def share_of(examples: int, size: int, process: int = 0, processes: int = 1) -> tuple[list[list[int]], int]:
    """The batches of one process: every example once over all processes, as many batches in each.

    Args:
        examples: how many there are.
        size: of a batch, at most.
        process: which.
        processes: of them.

    Returns:
        indices of each batch, and how many of the batches count; one behind them repeats an example that another
        process has, so that all go through the model together.
    """
    mine = list(range(process, examples, processes))
    batches = [mine[start : start + size] for start in range(0, len(mine), size)]
    most = len(range(0, examples, processes))
    wanted = len(range(0, most, size))
    return batches + [[0]] * (wanted - len(batches)), len(batches)


@torch.no_grad()
def heldout_losses(
    model: Any, vlm: Any, batches: Iterable[Mapping[str, Any]], accelerator: Any = None, counted: int | None = None
) -> dict[str, float]:
    """Mean loss of the learned tokens: ``loss`` over all, ``loss_FAMILY`` of each family there is.

    Args:
        model: called as a function; put into evaluation and back.
        vlm: inside it.
        batches: of ``ExampleEncoder``.
        accelerator: of a distributed run: the figures are then over all processes.
        counted: batches behind so many go through the model and are not counted; None: all count.
    """
    was_training = model.training
    model.eval()
    totals = torch.zeros(len(FAMILIES), 2, dtype=torch.float64)
    try:
        for number, batch in zip(count(), batches, strict=False):
            batch = on_device(batch, vlm.device)
            losses, where = answer_losses(model, vlm, batch)
            if counted is not None and number >= counted:
                continue
            family = torch.tensor(_families(batch, where.cpu()), dtype=torch.long)
            totals[:, 0].index_add_(0, family, losses.double().cpu())
            totals[:, 1].index_add_(0, family, torch.ones(len(family), dtype=torch.float64))
    finally:
        model.train(was_training)
    if accelerator is not None and accelerator.num_processes > 1:
        totals = accelerator.reduce(totals.to(accelerator.device), "sum").cpu()
    sums, counts = totals.T
    found = {"loss": float(sums.sum() / counts.sum())} if counts.sum() else {}
    every = zip(FAMILIES, sums.tolist(), counts.tolist(), strict=True)
    return found | {f"loss_{name}": total / count for name, total, count in every if count}


def _families(batch: Mapping[str, Any], where: Tensor) -> list[int]:
    """Index of the family of each learned token, given its row and place."""
    segments = batch["segments"].cpu()
    held = segments.amax(dim=1).clamp(min=1)  # dialogues in each row
    first = (held.cumsum(0) - held).tolist()
    names = batch["families"]
    known = {name: index for index, name in enumerate(FAMILIES)}
    out = []
    for row, token in where.tolist():
        dialogue = first[row] + max(int(segments[row, token]) - 1, 0)
        out.append(known.get(names[dialogue], known[GENERAL]))
    return out
