"""Notices that a group of weights is trained and learns nothing: no gradient reaches it.

Adapters under a frozen or skipped module, a depth encoder whose output is not used, a fusion that never sees depth: the
loss falls all the same, and only the gradient tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.train.packing import IGNORED
from sdvlm.train.trainable import GROUPS, Group
from sdvlm.types import SdvlmError

__all__ = ["GradientWatch", "check_gradients", "out_of_reach", "without_gradient"]

_VISION = ("vision_tower", "projector", "fusion")
"""groups that only a picture reaches"""


class GradientWatch:
    """Looks at the first backward passes until every group has had a gradient.

    Called after ``backward`` and before gradients are cleared, on every process of a distributed run.

    Args:
        patience: passes that could have reached a group after which it must have had a gradient.
        image_token_id: tells rows with pictures; a picture in a row that nothing is learned of, as distributed runs
            add, then reaches no group.
    """

    def __init__(self, patience: int = 1, image_token_id: int | None = None) -> None:
        self.patience, self.image_token_id = patience, image_token_id
        self.finished = False
        """whether every group has had a gradient, so that there is nothing left to look at"""
        self._reached: set[str] = set()
        self._waited: dict[str, int] = {}

    def check(self, groups: Sequence[Group], batch: Mapping[str, Any] | None = None) -> None:
        """Look at the gradients as they are now.

        Args:
            groups: of ``trainable.trained_groups``.
            batch: what the pass was made of: groups that it cannot reach, such as the fusion where nothing has depth,
                are not judged by it. None: it reaches all.

        Raises:
            SdvlmError: a group has had no gradient, or one that is not finite; names the group and some of its weights.
        """
        excused = out_of_reach(batch, self.image_token_id) if batch is not None else frozenset()
        for group in groups:
            size = _largest(group.parameters)
            if not math.isfinite(size):
                raise SdvlmError(
                    f"the gradient of the group '{group.name}' is not finite after the first step; use bfloat16 or "
                    "float32 in place of float16, and look at the data for answers without any token"
                )
            if size > 0:
                self._reached.add(group.name)
            elif group.name not in self._reached and group.name not in excused:
                self._waited[group.name] = self._waited.get(group.name, 0) + 1
        lost = [
            one for one in groups if self._waited.get(one.name, 0) >= self.patience and one.name not in self._reached
        ]
        if lost:
            raise SdvlmError(_line(lost))
        self.finished = all(group.name in self._reached for group in groups)


def check_gradients(groups: Sequence[Group], batch: Mapping[str, Any] | None = None) -> None:
    """Refuse to go on where a group got no gradient from the pass just made: a :class:`GradientWatch` for one pass.

    Raises:
        SdvlmError: see :meth:`GradientWatch.check`.
    """
    GradientWatch().check(groups, batch)


def out_of_reach(batch: Mapping[str, Any], image_token_id: int | None = None) -> frozenset[str]:
    """Names of groups that no gradient of a batch reaches, by what it lacks: answers, pictures, known depth."""
    if not bool((batch["labels"] != IGNORED).any()):
        return frozenset(GROUPS)
    seen = any(batch.get(name) is not None for name in ("pixel_values", "mm_encoder_outputs"))
    if seen and image_token_id is not None:
        taught = (batch["labels"] != IGNORED).any(dim=1)
        seen = bool((batch["input_ids"][taught] == image_token_id).any())
    if not seen:
        return frozenset(_VISION)
    grid = batch.get("depth_grid")
    if grid is None or not bool(grid[:, CHANNELS.index("z")].isfinite().any()):
        return frozenset({"fusion"})
    return frozenset()


def without_gradient(groups: Iterable[Group]) -> dict[str, list[str]]:
    """Names of the weights of each group that have no gradient at all; groups without any such are left out.

    Some are harmless: layers of a depth tower behind the one that is read. In a distributed run they must be told of
    (``ddp_find_unused_parameters``).
    """
    lacking = {
        group.name: [name for name, one in zip(group.names, group.parameters, strict=True) if one.grad is None]
        for group in groups
    }
    return {name: names for name, names in lacking.items() if names}


def _largest(parameters: Iterable[Tensor]) -> float:
    """Largest absolute gradient; 0 where there is none."""
    sizes = [
        _whole(one.grad).detach().abs().max().float() for one in parameters if one.grad is not None and one.numel()
    ]
    return float(torch.stack([one.to(sizes[0].device) for one in sizes]).max()) if sizes else 0.0


def _whole(gradient: Tensor) -> Tensor:
    """A gradient that is sharded over processes, put together."""
    full = getattr(gradient, "full_tensor", None)
    return gradient if full is None else full()


def _line(lost: Sequence[Group]) -> str:
    told = "; ".join(
        f"'{one.name}' ({sum(p.numel() for p in one.parameters):,} parameters, such as {one.names[0]})" for one in lost
    )
    fix = "set its learning rate to 0, or give data that reaches it (pictures, depth)"
    return f"no gradient reached the trained group {told} in the first step; {fix}"
