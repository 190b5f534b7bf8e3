"""Where image tokens look, witnessed: pictures that differ in some bands alone, sent through the model's own code.

The model has random weights and blocks that hand on their input, so that its tower mixes nothing; what moves a token
is then what it looks at. Boxes are not told here but checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.models.families.family import Boxes, Family, Views
from sdvlm.models.families.measured import MeasuredViews
from sdvlm.models.skeleton import build_skeleton

__all__ = ["Call", "Witness", "bare_model"]

_WIDTHS = (0.7, 1.0, 1.5, 1.5, 3.0) * 2  # of bands in tokens, of each drawing along an axis
_ON = 0.6  # share of a box that a band must cover to be sure to move its token
_EDGE = 3.0  # pixels of the coarser frame over which a resize bleeds
_BLED = 0.35  # of what moves a token, that may reach one beside it
_SURE, _KNOWN = 0.1, 1 / 3  # of all tokens and drawings, that must move, or must either move or not
_FIELDS = ("pooler_output", "last_hidden_state")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Call:
    """One module's part in making the tokens of a picture.

    Args:
        path: of the module, in the model.
        shape: of the tensor it put out first.
        given: rows of the tensor it was given then.
        times: how often it was called.
    """

    path: str
    shape: tuple[int, ...]
    given: int
    times: int

    @property
    def rows(self) -> int:
        """Rows it put out, all but the last axis."""
        return int(np.prod(self.shape[:-1]))


def bare_model(config: PreTrainedConfig, facts: Family, narrow: bool = True) -> nn.Module:
    """The model without its head, its language model a stub, its tower's blocks handing on; all else random."""
    model: Any = build_skeleton(config, facts, narrow, colours=True)
    model.config.get_text_config().hidden_size = config.get_text_config().hidden_size
    inside = tuple(
        f"{path}." for path, module in model.named_modules() if isinstance(module, GradientCheckpointingLayer)
    )
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            module.__dict__.pop("forward", None)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if path.startswith(inside):
                continue
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.fill_(0.0 if path.endswith("bias") else 1.0)
    return model  # type: ignore[no-any-return]


class Witness:
    """What moves the tokens of pictures of one size.

    Args:
        model: of :func:`bare_model`.
        seeing: the model's views, measured.
        image_processor: of the model.
        views: of pictures of the size.
    """

    def __init__(self, model: Any, seeing: MeasuredViews, image_processor: Any, views: Views) -> None:
        self.views, self.size = views, views.transforms[0].source_size
        self._model, self._seeing, self._image_processor = model, seeing, image_processor
        self._base = np.random.default_rng(0).integers(96, 160, (self.size[1], self.size[0], 3), dtype=np.uint8)
        self.field = "pooler_output"
        self.calls, (self.tokens, self.entries) = self._watched()

    def says(self, boxes: Boxes) -> bool:
        """Whether (N, 4) boxes are where the N tokens look."""
        if len(boxes) != len(self.tokens):
            return False
        shown = np.clip(boxes, 0, [*self.size, *self.size])
        inside = shown[:, 2:] - shown[:, :2] >= _ON * (boxes[:, 2:] - boxes[:, :2])
        sures = known = 0
        for axis, on, moved in self._moves:
            sure, still = self._expected(boxes[:, axis], boxes[:, axis + 2], on)
            sure &= inside[:, 1 - axis]
            sures, known = sures + int(sure.sum()), known + int(sure.sum() + still.sum())
            bled = moved[still].max(initial=0.0)
            if bled > _BLED * np.median(moved[moved > 0]) or (moved[sure] <= bled).any():
                return False
        told = len(boxes) * len(self._moves)
        return sures > _SURE * told and known > _KNOWN * told

    @cached_property
    def _moves(self) -> list[tuple[int, Mask, NDArray[np.float64]]]:
        """(axis, pixels of the axis that lie in bands, (N,) how far each token moved) of every drawing."""
        rng, made = np.random.default_rng(1), []
        columns = np.sqrt(len(self.tokens) * self.size[0] / self.size[1])
        for axis, across in enumerate((columns, len(self.tokens) / columns)):
            places = (np.arange(self.size[axis]) + 0.5) / self.size[axis] * across
            for width in _WIDTHS:
                band = (places / width + rng.random()).astype(int)
                on: Mask = rng.permutation(np.arange(band[-1] + 1) % 2 == 0)[band]
                picture = self._base.copy()
                part = (slice(None), on) if axis == 0 else on
                picture[part] = 255 - picture[part] // 2
                after, _ = self._features(self._inputs(picture))
                made.append((axis, on, np.linalg.norm(after - self.tokens, axis=1)))
        return made

    def _expected(self, low: Boxes, high: Boxes, on: Mask) -> tuple[Mask, Mask]:
        """Of every token, whether it must move, and whether it must not; neither: it may."""
        margin = _EDGE * max(1.0, *(1 / scale for one in self.views.transforms for scale in one.scale))
        nowhere = np.isnan(low)
        low, high = np.nan_to_num(low), np.nan_to_num(high)
        before = np.concatenate([[0], np.cumsum(on)])

        def covered(start: Boxes, end: Boxes) -> Boxes:
            ends = [np.clip(np.round(one), 0, len(on)).astype(int) for one in (start, end)]
            return np.asarray(before[ends[1]] - before[ends[0]], dtype=np.float64)

        sure = covered(low, high) >= _ON * np.maximum(high - low, 1e-9)
        return sure & ~nowhere, (covered(low - margin, high + margin) == 0) | nowhere

    def _inputs(self, picture: NDArray[np.uint8]) -> dict[str, Tensor]:
        made = self._seeing.processed(self._image_processor, picture)
        wanted = inspect.signature(self._model.get_image_features).parameters
        return {name: value for name, value in made.items() if name in wanted}

    @torch.no_grad()
    def _features(self, inputs: Mapping[str, Tensor]) -> tuple[NDArray[np.float64], int]:
        """(N, D) tokens, and in how many parts they came."""
        out = self._model.get_image_features(**inputs, return_dict=True)
        self.field = next(name for name in _FIELDS if out.get(name) is not None)
        parts = out[self.field]
        tokens = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
        return tokens.double().numpy(), len(parts)

    def _watched(self) -> tuple[list[Call], tuple[NDArray[np.float64], int]]:
        """Modules in the order in which they were done, and the tokens."""
        calls: dict[str, Call] = {}

        def watch(path: str) -> Any:
            def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
                given = next((one for one in (*args, *named.values()) if isinstance(one, Tensor)), None)
                if isinstance(out, Tensor) and given is not None and out.ndim > 1:
                    first = calls.get(path) or Call(path, tuple(out.shape), int(np.prod(given.shape[:-1])), 0)
                    calls[path] = replace(first, times=first.times + 1)

            return hook

        hooks = [
            module.register_forward_hook(watch(path), with_kwargs=True)
            for path, module in self._model.named_modules()
            if path and not isinstance(module, GradientCheckpointingLayer)
        ]
        try:
            features = self._features(self._inputs(self._base))
        finally:
            for one in hooks:
                one.remove()
        return list(calls.values()), features
