"""What one family of vision-language models is: three facts (views, cells, source), and where they are not enough.

What happens to the cells afterwards (window order, merges, tiles stitched, padding cut off, separator tokens) is probed
(``models.grid``), not tabulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedConfig

from sdvlm.geometry.transform import ImageTransform
from sdvlm.types import SdvlmError

__all__ = ["Boxes", "Family", "Size", "Views", "cut", "one_view", "patch_cells"]

Size = tuple[int, int]
Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Views:
    """What the vision tower sees of one picture.

    Args:
        transforms: from the picture's pixels to those of each view, in the order the tower gets them; all from one
            source size.
        extra: whatever else ``Family.inputs`` is made from.
    """

    transforms: tuple[ImageTransform, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({one.source_size for one in self.transforms}) != 1:
            raise SdvlmError("a picture is seen in at least one view, and all its views are of one picture")

    @property
    def sizes(self) -> list[Size]:
        """(width, height) of each view."""
        return [one.target_size for one in self.transforms]


@dataclass(frozen=True)
class Family:
    """Where the image tokens of a family come from. Paths are relative to the model without its language head."""

    views: Callable[[PreTrainedConfig, Any, Size], Views]
    """(model config, image processor, (width, height) of a picture) to what the tower sees of it"""
    cells: Callable[[PreTrainedConfig, Size], Boxes]
    """(model config, size of a view) to (n, 4) boxes in the view's pixels, in the order ``source`` puts cells out"""
    inputs: Callable[[PreTrainedConfig, Views], dict[str, torch.Tensor]]
    """(model config, views) to blank inputs of ``get_image_features`` for one picture"""
    source: str
    """path of the module that puts the cells out; best the last one before tokens are only arranged"""
    rows: Literal["views", "flat", "calls"] = "views"
    """how it puts them out: (views, n, width), where rows beyond the cells come first and look nowhere (class token);
    (n, width) of all views; or (1, n, width), called once a view"""
    merge: str | None = None
    """path of the module that joins runs of neighbouring rows into one token, where that is not ``source``"""
    merged: Callable[[PreTrainedConfig], int] = lambda config: 1
    """patches of the tower per token"""
    nowhere: tuple[str, ...] = ()
    """paths of parameters that stand for tokens that look nowhere (newlines)"""
    projector: str = ""
    """path of the module between tower and language model; empty: ``merge``, else ``source``"""
    tokens: str = "pooler_output"
    """field of the output of ``get_image_features`` that reaches the language model"""
    width: Callable[[PreTrainedConfig], int] = lambda config: int(config.get_text_config().hidden_size)
    """numbers a token of that field has; other than the language model's where its projector comes after"""
    beside: Callable[[PreTrainedConfig, Any, Size], Views] | None = None
    """``views`` of a picture that shares its prompt with others; None: the same"""
    per_picture: bool = True
    """whether that field holds one entry a picture; False: one a view, or one a prompt"""

    @property
    def between(self) -> str:
        """Path of the module between tower and language model."""
        return self.projector or self.merge or self.source


def one_view(replay: Callable[[Any, Size], ImageTransform]) -> Callable[[PreTrainedConfig, Any, Size], Views]:
    """``Family.views`` of a family that sees each picture once: (image processor, size) to that view's transform."""
    return lambda config, image_processor, size: Views((replay(image_processor, size),))


def cut(size: Size, cell: int) -> Boxes:
    """(rows, columns, 4) cell boxes of a ``size`` picture; a rest smaller than a cell is left over."""
    columns, rows = size[0] // cell, size[1] // cell
    top, left = np.mgrid[:rows, :columns] * float(cell)
    return np.stack([left, top, left + cell, top + cell], axis=-1)


def patch_cells(config: PreTrainedConfig, size: Size) -> Boxes:
    """(n, 4) the patches of a view, row by row."""
    return cut(size, config.vision_config.patch_size).reshape(-1, 4)
