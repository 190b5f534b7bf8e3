"""A vision tower that reads depth planes, made from one that reads RGB.

The first plane's kernel is the sum of the three RGB kernels, so that a grey picture (three equal normalised channels)
gives the features the RGB tower gives; further planes start at zero kernels and are learned. This is what asking
transformers for another number of channels does not do: that raises, or draws the patch embedding anew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedConfig

from sdvlm.types import SdvlmError

__all__ = ["inflated", "patch_embedding"]

RGB = 3
_COUNTS = ("num_channels", "in_channels", "in_chans")
"""names under which modules and configs state how many channels a picture has"""

Module = TypeVar("Module", bound=nn.Module)


def inflated(module: Module, channels: int) -> Module:
    """A deep copy of a vision module whose patch embedding reads ``channels`` planes.

    Args:
        module: a vision tower, or a module with one such tower inside; on any device, the meta device too.
        channels: planes, at least 1. The first takes over what RGB was read for.

    Raises:
        SdvlmError: there is no patch embedding that reads RGB, or several.
    """
    if channels < 1:
        raise SdvlmError(f"a depth tower reads at least one plane; got {channels}")
    path = patch_embedding(module)
    out = copy.deepcopy(module)
    layer: Any = out.get_submodule(path)
    rgb = layer.weight
    kernels = rgb.new_zeros(rgb.shape[0], channels, *rgb.shape[2:])
    with torch.no_grad():
        kernels[:, 0] = rgb.detach().float().sum(1).to(rgb.dtype)
    layer.weight = nn.Parameter(kernels, requires_grad=rgb.requires_grad)
    for owner in _owners(out, path):
        for name in _COUNTS:
            if getattr(owner, name, None) == RGB:
                setattr(owner, name, channels)
    return out


def patch_embedding(module: nn.Module, channels: int = RGB) -> str:
    """Path of the one convolution that reads pictures of ``channels`` channels.

    Raises:
        SdvlmError: there is none, or there are several.
    """
    readers: list[str] = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d | nn.Conv3d) and part.in_channels == channels and part.groups == 1
    ]
    if len(readers) == 1:
        return readers[0]
    found = f"{len(readers)}: {', '.join(readers)}" if readers else "none"
    raise SdvlmError(
        f"{type(module).__name__} must have one convolution that reads {channels} channels, its patch embedding; "
        f"found {found}. Towers that take flattened patches through a linear layer are not supported"
    )


def _owners(module: nn.Module, path: str) -> Iterator[Any]:
    """The layer at ``path``, the modules it lies in, and their configs with all nested ones."""
    names = path.split(".") if path else []
    for depth in range(len(names) + 1):
        part = module.get_submodule(".".join(names[:depth]))
        yield part
        yield from _configs(getattr(part, "config", None))


def _configs(config: Any) -> Iterator[Any]:
    if isinstance(config, PreTrainedConfig):
        yield config
        for value in list(vars(config).values()):
            yield from _configs(value)
