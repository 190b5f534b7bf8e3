"""What an image processor does to a picture's frame, measured: ramps of x and y go in, and places are read off.

For processors nobody has stated. A long ramp tells about where each pixel of a view comes from; zigzags of short and
steep ramps, which the long one tells apart, say it to a fraction of a pixel.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sdvlm.models.families.family import Size, Views
from sdvlm.models.families.processors import pictures_of_prompts, processed
from sdvlm.models.families.ramps import diagonal, fitted, unfolded
from sdvlm.types import SdvlmError

__all__ = ["BlankInputs", "MeasuredViews"]

_START, _RISE = 27.0, 200.0  # brightness of a ramp's dark end, and of its other end above that
_BENT = 3.0  # pixels of the coarser frame from a turn of a zigzag that a resize may bend
_FINEST = 200  # pixels along a view of which it is taken that the original has fewer
_SPARES = 10  # bent and untold pixels that up and down of a zigzag take
_SMALL = (320, 240)
_KEPT = 64  # sizes whose views are kept
Plane = NDArray[np.float64]


class MeasuredViews:
    """``Family.views`` by measurement. What else the processor makes of a picture is in ``Views.extra``.

    Args:
        patch: side of the patches, for processors that put out patches in place of planes.
        whole: the processor around the image processor, which may call it with settings of its own; None: there is
            none, the image processor's own settings hold.
    """

    def __init__(self, patch: int, whole: Any = None) -> None:
        self.patch, self.whole = patch, whole
        self._kept: OrderedDict[Size, Views] = OrderedDict()
        self._diagonal: NDArray[np.int64] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"patch": self.patch, "whole": self.whole, "_kept": OrderedDict(), "_diagonal": self._diagonal}

    def __call__(self, config: Any, image_processor: Any, size: Size) -> Views:
        """The views of a picture of ``size`` (width, height).

        Raises:
            SdvlmError: they are not made by resize, crop and padding alone.
        """
        if size not in self._kept:
            try:
                self._kept[size] = self._measured(image_processor, size)
            except SdvlmError as error:
                raise SdvlmError(
                    f"what this model sees of a {size[0]}x{size[1]} picture cannot be measured: {error}"
                ) from error
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[size]

    def processed(self, image_processor: Any, picture: NDArray[np.uint8]) -> dict[str, Tensor]:
        """The tensors made of an (H, W, 3) picture: of a prompt that is the picture alone, if there is a processor."""
        shown = [Image.fromarray(picture)]
        if self.whole is not None:
            images = pictures_of_prompts(self.whole, shown, [1])
            made = processed(self.whole, text=[self.whole.image_token], images=images, return_tensors="pt")
        else:
            made = image_processor(images=shown, return_tensors="pt")
        return {name: value for name, value in made.items() if isinstance(value, Tensor)}

    def _measured(self, image_processor: Any, size: Size) -> Views:
        others = self.processed(image_processor, np.zeros((size[1], size[0], 3), dtype=np.uint8))
        shape = tuple(others.pop("pixel_values").shape)
        if len(shape) in (4, 5) and shape[-3] == 3:
            places, levels = self._places(image_processor, size, (..., 0, slice(None), slice(None)))
            planes = [one.reshape(-1, *one.shape[-2:]) for one in places]
        elif len(shape) in (2, 3) and shape[-1] % self.patch**2 == 0:
            if self._diagonal is None:
                (x, y), _ = self._places(image_processor, _SMALL, (..., slice(None)))
                self._diagonal = diagonal(x.reshape(-1, shape[-1]), y.reshape(-1, shape[-1]), self.patch)
            places, levels = self._places(image_processor, size, (..., self._diagonal))
            planes = unfolded(*(one.reshape(-1, self.patch) for one in places))
        else:
            raise SdvlmError(f"pixel_values of shape {shape} are neither planes nor patches of {self.patch}")
        transforms = tuple(fitted(x, y, size, levels) for x, y in zip(*planes, strict=True))
        return Views(transforms, {"others": others, "pixels": shape})

    def _places(self, image_processor: Any, size: Size, part: Any) -> tuple[list[Plane], list[float]]:
        """x and y of the original that a part of the pixel values comes from, and the pixels per level of each."""

        def pixels(level: Plane) -> Plane:
            card = np.broadcast_to(np.round(level).astype(np.uint8)[..., None], (size[1], size[0], 3))
            made = self.processed(image_processor, card.copy())["pixel_values"]
            return np.asarray(made[part].double().numpy())

        low = pixels(np.zeros((1, 1)))
        span = pixels(np.full((1, 1), 255.0)) - low
        inside = np.abs(span) > 0.2 * np.abs(span).max()

        def risen(share: Plane) -> Plane:
            """Shares of a ramp that the pixels show, which is drawn as such shares; NaN in padding."""
            shown = 255 * (pixels(_START + _RISE * share) - low)
            return np.asarray((np.divide(shown, span, where=inside, out=np.full_like(low, np.nan)) - _START) / _RISE)

        found = []
        for axis, length in enumerate(size):
            along = np.arange(length, dtype=np.float64) + 0.5
            found.append(_zigzagged(risen, along[None] if axis == 0 else along[:, None], length))
        return [place for place, _ in found], [level for _, level in found]


def _zigzagged(risen: Callable[[Plane], Plane], along: Plane, length: int) -> tuple[Plane, float]:
    """Pixels of the original along one axis that values come from, NaN for none; and pixels per level of brightness."""
    rough = length * risen(along / length)
    spare = _BENT * max(1.0, length / _FINEST) + length / _RISE
    period = _SPARES * spare
    if period > length / 2:
        return rough, length / _RISE
    found = []
    for phase in (0.0, 0.25):  # where one turns the other rises or falls
        shown = risen(1 - np.abs(2 * np.mod(along / period + phase, 1.0) - 1))
        turns = rough / period + phase
        whole = np.floor(turns)
        place = period * (whole + np.where(turns - whole < 0.5, shown / 2, 1 - shown / 2) - phase)
        near = np.abs(np.mod(turns + 0.25, 0.5) - 0.25) * period < spare
        found.append(np.where(near, np.nan, place))
    one, other = found
    place = np.where(np.isnan(one), other, np.where(np.isnan(other), one, (one + other) / 2))
    return place, period / 2 / _RISE


@dataclass(frozen=True)
class BlankInputs:
    """``Family.inputs`` from what the processor itself makes: pixels of one, all else as it is.

    Args:
        names: of what ``get_image_features`` takes.
    """

    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, model: Any) -> BlankInputs:
        """For one model."""
        return cls(frozenset(inspect.signature(model.get_image_features).parameters))

    def __call__(self, config: Any, views: Views) -> dict[str, Tensor]:
        others = {name: value for name, value in views.extra["others"].items() if name in self.names}
        return {"pixel_values": torch.ones(views.extra["pixels"]), **others}
