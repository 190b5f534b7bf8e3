"""The Python half of torchvision, for tests beside a CPU build of torch that no torchvision is built for.

Image and video processors resize and normalise with it and never call its compiled operators, so two names that its
import wants to exist are all it lacks. ``make test-torchvision`` puts it on the path; nothing else does.
"""

from __future__ import annotations

import importlib.util

import torch

__all__ = ["admit"]

_WANTED = ("nms", "qnms")
_KEPT: list[torch.library.Library] = []


def admit() -> None:
    """Let ``import torchvision`` succeed where the package lies on the path without its compiled half."""
    if importlib.util.find_spec("torchvision") is None or _KEPT:
        return
    names = torch.library.Library("torchvision", "FRAGMENT")
    _KEPT.append(names)
    for name in _WANTED:
        if not hasattr(torch.ops.torchvision, name):
            names.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
