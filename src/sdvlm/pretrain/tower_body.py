"""A vision tower taken apart: patches, places, and the blocks on any set of tokens.

Masked and cross-modal objectives run a tower's blocks on tokens of their own choice: visible patches only, patches of
two modalities at once, patches without their places. This does it through the tower's own forward pass, by replacing
what its embedding module puts out, so that norms and read-outs are the family's own.

Notation: B pictures, N patches row by row, P class and register tokens before them, D width.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.fusion.inflate import patch_embedding
from sdvlm.fusion.pixel_layout import is_packed
from sdvlm.types import SdvlmError

__all__ = ["TowerBody"]


class TowerBody:
    """Views on a tower; holds no weights of its own.

    Args:
        tower: a transformers vision model that adds learned places to its patches before blocks that do not know the
            order of tokens: CLIP, SigLIP, ViT, DINOv2 and the like.
        channels: what its patch embedding reads.
        layer: index of the hidden state that is read out; None: the last one, with the tower's norm where it has one.

    Raises:
        SdvlmError: a tower of another kind (packed pictures, rotary places), told from what it computes.
    """

    def __init__(self, tower: nn.Module, channels: int, layer: int | None = None) -> None:
        config: Any = tower.config
        size = getattr(config, "image_size", None)
        if is_packed(config) or size is None:
            raise SdvlmError(f"{_wanted(tower)}; this one takes pictures of any size")
        path = patch_embedding(tower, channels)
        self.tower, self.layer, self.channels = tower, layer, channels
        projection: Any = tower.get_submodule(path)
        self.projection = projection
        self.embeddings = tower.get_submodule(_embeddings(tower, path))
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else tuple(size)
        self.patch = int(projection.kernel_size[0])
        self.grid = (self.size[0] // self.patch, self.size[1] // self.patch)
        self._input = next(iter(inspect.signature(tower.forward).parameters))
        self._check()

    def places(self) -> tuple[Tensor, Tensor]:
        """(1, P, D) class and register tokens as the blocks see them, and (1, N, D) places of the patches."""
        nothing = self._nothing()
        mode = self.embeddings.training
        self.embeddings.train(False)  # no dropout
        try:
            tokens = self.embeddings(nothing)
        finally:
            self.embeddings.train(mode)
        before = tokens.shape[1] - self.grid[0] * self.grid[1]
        return tokens[:, :before], tokens[:, before:] - self.patches(nothing)

    def patches(self, pixels: Tensor, projection: nn.Module | None = None) -> Tensor:
        """(B, N, D) patches of (B, C, H, W) pixels without places.

        Args:
            pixels: of the tower's size.
            projection: patch embedding to use; None: the tower's own.
        """
        used: Any = projection or self.projection
        out: Tensor = used(pixels.to(used.weight.dtype))
        return out.flatten(2).transpose(1, 2)

    def run(self, tokens: Tensor) -> Tensor:
        """(B, M, D) tokens, any number in any order, through the blocks to (B, M, D)."""

        def replace(module: nn.Module, given: Any, out: Any) -> Tensor:
            return tokens

        handle = self.embeddings.register_forward_hook(replace)
        try:
            arguments = {self._input: self._nothing()}
            out = self.tower(**arguments, output_hidden_states=self.layer is not None, return_dict=True)
        finally:
            handle.remove()
        states: Tensor = out.last_hidden_state if self.layer is None else out.hidden_states[self.layer]
        return states

    @contextmanager
    def without_places(self) -> Iterator[None]:
        """Within it the tower's own forward pass adds no places to its patches.

        Patch contrast against a teacher with places is solved by place alone where the student has them too.
        """
        _, places = self.places()

        def take_off(module: nn.Module, given: Any, out: Tensor) -> Tensor:
            before = out.shape[1] - places.shape[1]
            return torch.cat([out[:, :before], out[:, before:] - places], dim=1)

        handle = self.embeddings.register_forward_hook(take_off)
        try:
            yield
        finally:
            handle.remove()

    def _nothing(self) -> Tensor:
        weight = self.projection.weight
        return torch.zeros(1, self.channels, *self.size, dtype=weight.dtype, device=weight.device)

    @torch.no_grad()
    def _check(self) -> None:
        """The embedding is patches plus places, and the blocks give permuted tokens for permuted tokens."""
        mode = self.tower.training
        self.tower.train(False)
        try:
            ramp = torch.linspace(-1, 1, self._nothing().numel()).reshape(1, self.channels, *self.size)
            pixels = ramp.to(self._nothing()).flip(1, 2).sin()
            prefix, places = self.places()
            tokens = torch.cat([prefix, self.patches(pixels) + places], dim=1)
            whole = self.embeddings(pixels)
            turned = self.run(tokens.flip(1)).flip(1)
            self.run(tokens[:, ::2])
            fits = _close(tokens, whole) and _close(turned, self.run(tokens))
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise SdvlmError(f"{_wanted(self.tower)}; this one does not run on chosen tokens: {told}") from error
        finally:
            self.tower.train(mode)
        if not fits:
            raise SdvlmError(f"{_wanted(self.tower)}; this one's blocks know the order of tokens")


def _wanted(tower: nn.Module) -> str:
    return (
        "this objective needs a vision tower with learned places added to its patches (CLIP, SigLIP, ViT, DINOv2), "
        f"got {type(tower).__name__}"
    )


def _close(a: Tensor, b: Tensor) -> bool:
    tolerance = 1e-4 if a.dtype == torch.float32 else 5e-2
    return a.shape == b.shape and float((a - b).float().abs().max()) <= tolerance * max(float(b.float().std()), 1e-6)


def _embeddings(tower: nn.Module, path: str) -> str:
    """Path of the outermost module around the patch embedding that holds no list of blocks."""
    names = path.split(".")
    for depth in range(1, len(names) + 1):
        found = ".".join(names[:depth])
        if not any(isinstance(part, nn.ModuleList) for part in tower.get_submodule(found).modules()):
            return found
    return path
