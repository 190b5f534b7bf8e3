"""The toy task's pictures and depth as the inputs of a model, whatever place its fusion gives to depth.

The processor does this for real models (``models.depth_placing``); the toy has pictures of known patches and a language
of a few words, so it writes its inputs itself. Depth in words is the easiest it can be: one word a patch, row by row.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.coordinate import Z_MAX_M, Z_MIN_M
from sdvlm.fusion.depth_grid import CHANNELS, kind_code
from sdvlm.fusion.depth_text import grid_text
from sdvlm.fusion.renderers import render_depth
from sdvlm.types import DepthKind, DepthMap

__all__ = ["CELLS", "IMAGE", "NO", "PATCH", "VOCABULARY", "YES", "toy_inputs"]

CELLS = 4
"""patches along a side of the picture"""
PATCH = 4
"""pixels along a side of a patch"""
NO, YES, QUESTION, IMAGE, UNKNOWN = 1, 2, 3, 4, 5
"""words of the toy language, by their ids"""
_FIRST_DEPTH, _DEPTHS = 8, 120
VOCABULARY = _FIRST_DEPTH + _DEPTHS


def toy_inputs(config: FusionConfig | None, pixels: Tensor, grid: Tensor | None) -> dict[str, Tensor]:
    """Inputs of a toy ``DepthVLM``: the pictures and their one question.

    Args:
        config: of the model's fusion; None: it has none.
        pixels: (B, 3, 16, 16) float32, -1..1.
        grid: (B * 16, C) packed depth of the patches; None: no depth is given.
    """
    count, patches = len(pixels), CELLS * CELLS
    words = [torch.full((count, patches), IMAGE)]
    given: dict[str, Tensor] = {"pixel_values": pixels}
    if grid is not None and config is not None:
        z = grid[:, CHANNELS.index("z")].reshape(count, patches)
        if config.place == "text":
            words.append(_depth_words(z, _maps(z, grid)))
        elif config.name == "depth_image":
            drawn = [_drawn(one, config.renderer) for one in _maps(z, grid)]
            given["pixel_values"] = torch.stack([pixels, torch.stack(drawn)], dim=1).flatten(0, 1)
        else:
            given["depth_grid"] = grid
        if config.place == "picture":
            words.append(words[0])
            given |= {} if config.name == "depth_image" else {"depth_pictures": torch.tensor([False, True] * count)}
        channels = config.depth_channels
        if channels is not None:
            given["depth_pixels"] = torch.stack([torch.from_numpy(channels.planes(one)) for one in _maps(z, grid)])
    return {"input_ids": torch.cat([*words, torch.full((count, 1), QUESTION)], dim=1)} | given


def _maps(z: Tensor, grid: Tensor) -> list[DepthMap]:
    """The depth maps that flat patches make."""
    kinds = {kind_code(kind): kind for kind in DepthKind}
    codes = grid[:, CHANNELS.index("kind")].reshape(z.shape).amax(dim=1).long().tolist()
    block = np.ones((PATCH, PATCH), dtype=np.float32)
    return [
        DepthMap(np.kron(one.reshape(CELLS, CELLS).numpy(), block), kinds.get(code, DepthKind.METRIC))
        for one, code in zip(z, codes, strict=True)
    ]


def _drawn(depth: DepthMap, renderer: str) -> Tensor:
    """(3, 16, 16) float32 of a depth map as a picture."""
    return torch.from_numpy(render_depth(depth, renderer)).permute(2, 0, 1).float() / 127.5 - 1


def _depth_words(z: Tensor, maps: list[DepthMap]) -> Tensor:
    """(B, 16) the word of each depth: 120 words from 0.1 to 100 m in equal steps of their logarithm, 6 % apart.

    Raises:
        SdvlmError: the depth is not metric.
    """
    for one in maps:
        grid_text(one, 1, 1)  # what a real prompt refuses, the toy's does
    share = (torch.log(z.clamp(Z_MIN_M, Z_MAX_M) / Z_MIN_M) / math.log(Z_MAX_M / Z_MIN_M)).nan_to_num()
    return torch.where(z.isnan(), UNKNOWN, _FIRST_DEPTH + (share * (_DEPTHS - 1)).round().long())
