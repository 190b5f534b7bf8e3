"""What sees: the vision tower, with depth in its patch embeddings where the recipe says so."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sdvlm.fusion.early import EarlyDepth
from sdvlm.nano.optimise import save_whole
from sdvlm.nano.precision import fast_arithmetic

__all__ = ["Sight"]

_TOWER, _STEM = "tower.", "early."


class Sight(nn.Module):
    """The tower of a nano model.

    Args:
        model: LLaVA without its head.
        early: puts depth in front of the tower's first layer; None: it sees RGB alone.
    """

    def __init__(self, model: Any, early: EarlyDepth | None = None) -> None:
        super().__init__()
        self.tower = model.vision_tower
        self.stem = None if early is None else early.stem
        self.tower.set_attn_implementation("eager")  # with so few tokens twice as fast as SDPA's CPU kernel
        self._model, self._early = [model], early  # in a list: not a part of this module

    def forward(self, pixels: Tensor, planes: Tensor | None = None) -> Tensor:
        """(B, N, Dv) patch features of pictures (B, 3, S, S), with depth planes (B, P, S, S) if there are any."""
        inside: AbstractContextManager[Any] = nullcontext()
        if self._early is not None and planes is not None:
            known = planes.flatten(1).any(dim=1)
            inside = self._early.inside(self._model[0], {"pixel_values": planes}, known)
        with inside:
            features: Tensor = self.tower(pixels).last_hidden_state[:, 1:]
        return features

    def save(self, path: Path) -> None:
        """Weights of the tower, and of what depth enters through."""
        tensors = {_TOWER + name: value for name, value in self.tower.state_dict().items()}
        if self.stem is not None:
            tensors |= {_STEM + name: value for name, value in self.stem.state_dict().items()}
        save_whole({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)

    def load(self, path: Path) -> None:
        """What :meth:`save` wrote."""
        weights = load_file(path)
        for prefix, module in ((_TOWER, self.tower), (_STEM, self.stem)):
            if module is not None:
                own = {n.removeprefix(prefix): value for n, value in weights.items() if n.startswith(prefix)}
                module.load_state_dict(own)

    @torch.no_grad()
    def look(self, pixels: Tensor, planes: Tensor | None = None) -> Tensor:
        """The features without gradient."""
        with fast_arithmetic(pixels.device):
            return self.forward(pixels, planes)
