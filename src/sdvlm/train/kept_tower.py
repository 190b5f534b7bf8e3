"""A stand-in for the ``forward`` of a frozen vision tower, which looks at a picture once.

The tower stays where it is, with its weights and names; only its ``forward`` is exchanged while the cache is attached,
so that a checkpoint saved meanwhile is the same. Pictures are found again by their processed pixels and the tower's
weights, one file each, so that any number of processes and later runs share them.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.fusion.pixel_layout import is_packed, lay_out
from sdvlm.fusion.towers import find_tower
from sdvlm.train.tensor_files import TensorFiles

__all__ = ["TowerCache"]

_FORMAT = "1"  # part of every key: raise it when what is stored changes meaning
_DEEP = "deepstack_features"  # levels of the tower that the language model reads beside its last
_CAPTURED = ("output_hidden_states", "output_attentions")
_UNSAID = ("_name_or_path", "transformers_version", "dtype", "_attn_implementation_internal")


class TowerCache:
    """Stands between a model and its frozen vision tower.

    A picture's features do not depend on the pictures beside it: the tower sees one at a time.

    Args:
        host: a vision-language model without its head.
        files: where features are kept.
        apart: path of a part of the tower whose weights do not decide what is kept.
    """

    def __init__(self, host: Any, files: TensorFiles, apart: str | None = None) -> None:
        self.files = files
        self.tower: Any = find_tower(host)
        self.seen = self.found = 0
        """pictures asked for, and those of them that were on disk"""
        self._own = self.tower.forward
        self._first = next(iter(inspect.signature(self._own).parameters))
        self._digest = _weights_digest(self.tower, apart)
        self._asked: dict[str, Any] = {}
        self._made: Any = None
        self._put_in(self._probed)
        try:
            self.parts = self._parts_read(host)
        finally:
            del self.tower.forward
        self._put_in(self._cached)

    def detach(self) -> None:
        """Give the tower its own ``forward`` back."""
        self.tower.__dict__.pop("forward", None)

    def __enter__(self) -> TowerCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _put_in(self, instead: Any) -> None:
        @functools.wraps(self._own)  # with its signature, which callers look at
        def forward(*args: Any, **kwargs: Any) -> Any:
            return instead(*args, **kwargs)

        self.tower.forward = forward

    def _parts_read(self, host: Any) -> tuple[str, ...]:
        """Which parts of the tower's output reach the image tokens, by their gradient on a blank picture."""
        config = self.tower.config
        side = getattr(config, "image_size", None) or 4 * config.patch_size * getattr(config, "spatial_merge_size", 1)
        inputs = {
            name: value.to(self.tower.device, self.tower.dtype if value.is_floating_point() else None)
            for name, value in lay_out([torch.zeros(3, side, side)], config).items()
        }
        with torch.enable_grad():
            features = host.get_image_features(**inputs, return_dict=True)
            leaves = _parts(self._made)
            read = [features["pooler_output"], *(features.get(_DEEP) or ())]
            total = torch.stack([one.float().sum() for tokens in read for one in tokens]).sum()
            reached = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return tuple(name for name, grad in zip(leaves, reached, strict=True) if grad is not None)

    def _probed(self, *args: Any, **kwargs: Any) -> Any:
        """The tower's output as leaves of a graph of their own."""
        _, _, self._asked = self._split(self._named(args, kwargs))
        with torch.no_grad():
            out = self._own(*args, **kwargs)
        leaves = {name: value.detach().clone().requires_grad_() for name, value in _parts(out).items()}
        self._made = _assembled(out, leaves)
        return _assembled(out, leaves)

    def _cached(self, *args: Any, **kwargs: Any) -> Any:
        """As the tower's own ``forward``; of the output only what the model reads is there."""
        named = self._named(args, kwargs)
        pixels, grid, others = self._split(named)
        if any(others.get(name) and others[name] != self._asked.get(name) for name in _CAPTURED):
            return self._own(*args, **kwargs)
        if grid is None:
            pieces: Sequence[Tensor] = pixels.split(1)
            given: list[dict[str, Any]] = [others] * len(pieces)
        else:
            pieces = pixels.split(grid.prod(dim=-1).tolist())
            given = [others | {"grid_thw": one[None]} for one in grid]
        made = [self._features(piece, one) for piece, one in zip(pieces, given, strict=True)]
        joined = {name: torch.cat([one[name] for one in made]) for name in self.parts}
        return self._output(joined, named)

    def _look(self, pixels: Tensor, others: Mapping[str, Any]) -> dict[str, Tensor]:
        """What the tower itself makes of one picture."""
        return _parts(self._own(**{self._first: pixels}, **others))

    def _output(self, kept: Mapping[str, Tensor], asked: Mapping[str, Any]) -> Any:
        """The tower's output from what is kept of a batch; ``asked``: the arguments of its ``forward``."""
        return _assembled(self._made, kept)

    def _features(self, pixels: Tensor, others: Mapping[str, Any]) -> dict[str, Tensor]:
        key = self._key(pixels, others.get("grid_thw"))
        self.seen += 1
        kept = self.files.get(key)
        if kept is not None and set(self.parts) <= kept.keys():
            self.found += 1
            return {name: kept[name].to(pixels.device, non_blocking=True) for name in self.parts}
        training = self.tower.training
        self.tower.eval()
        try:
            with torch.no_grad():
                out = self._look(pixels, others)
        finally:
            self.tower.train(training)
        made = {name: out[name] for name in self.parts}
        self.files.put(key, made)
        return made

    def _key(self, pixels: Tensor, grid: Tensor | None) -> str:
        kind = pixels.device.type
        words = {
            "format": _FORMAT,
            "tower": self._digest,
            "parts": type(self).__name__,
            "autocast": str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None,
            "pixels": [str(pixels.dtype), *pixels.shape],
            "grid": None if grid is None else grid.tolist(),
        }
        digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
        digest.update(_raw(pixels))
        return digest.hexdigest()

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(inspect.signature(self._own).parameters, args, strict=False)) | kwargs

    def _split(self, named: Mapping[str, Any]) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """Pixels, the grid of packed towers, and the other arguments."""
        others = dict(named)
        pixels = others.pop(self._first)
        grid = others.pop("grid_thw", None) if is_packed(self.tower.config) else None
        return pixels, grid, others


def _parts(out: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a tower's output by name; those in a tuple or list by name and place."""
    found: dict[str, Tensor] = {}
    for name, value in out.items():
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, tuple | list):
            found |= {f"{name}.{place}": one for place, one in enumerate(value) if isinstance(one, Tensor)}
    return found


def _assembled(pattern: Any, parts: Mapping[str, Tensor]) -> Any:
    """An output of the class of ``pattern`` with these parts, None for the others."""
    values: dict[str, Any] = {}
    for name, value in pattern.items():
        if isinstance(value, tuple | list):
            values[name] = type(value)(parts.get(f"{name}.{place}") for place in range(len(value)))
        else:
            values[name] = parts.get(name)
    return type(pattern)(**values)


def _weights_digest(tower: nn.Module, apart: str | None) -> str:
    """Of all values of a tower, but for those of one part, and of how it computes with them."""
    config: Any = tower.config
    said = {name: value for name, value in config.to_dict().items() if name not in _UNSAID}
    digest = hashlib.sha256(json.dumps([type(tower).__name__, said], sort_keys=True, default=str).encode())
    for name, value in sorted(tower.state_dict().items()):
        if apart is not None and name.startswith(f"{apart}."):
            continue
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(_raw(value))
    return digest.hexdigest()


def _raw(values: Tensor) -> Any:
    return values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
