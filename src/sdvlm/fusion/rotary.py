"""Rotate the image tokens by their depth: the released SD-VLM code's second encoding, which no released model uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdvlm.fusion.coordinate import coordinate
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.types import SdvlmError

__all__ = ["POSITIONS", "RotateByDepth"]

POSITIONS = 10_000
"""length of the released table; positions are whole numbers below it"""


class RotateByDepth(nn.Module):
    """Rotary code of depth (``llava/model/depth_encoding.py`` of the SD-VLM code): norms stay, directions turn.

    Channel k and channel k + D / 2 turn together by ``position * base ** (-2 k / D)``. The position is a whole number,
    ``floor(scale * coordinate)``: the released table has one row for each. Beyond its end (where the released code
    fails, as min-max gives the last token 1.0) the last row is used. A token without depth stays as it is.

    Args:
        hidden_size: D, even.
        coordinate_name: a key of ``fusion.coordinate.COORDINATES``.
        scale: multiplies the coordinate; 100 makes 0..10000 of ``sdvlm_compat``.
        base: slowest wavelength over fastest.

    Raises:
        SdvlmError: D is odd.
    """

    def __init__(
        self,
        hidden_size: int,
        coordinate_name: str = "sdvlm_compat",
        scale: float = 100.0,
        base: float = 10_000.0,
    ) -> None:
        super().__init__()
        if hidden_size <= 0 or hidden_size % 2:
            raise SdvlmError(f"the width of a rotary code must be even and positive; got {hidden_size}")
        self.hidden_size, self.coordinate_name, self.scale, self.base = hidden_size, coordinate_name, scale, base

    def forward(self, tokens: Tensor, grid: DepthGrid) -> Tensor:
        """(T, D) projected image tokens and their depth to (T, D), in the tokens' dtype.

        Raises:
            SdvlmError: the depth is of a kind the coordinate is not defined for.
        """
        position = torch.nan_to_num(self.scale * coordinate(grid, self.coordinate_name)).floor()
        with torch.autocast(device_type=tokens.device.type, enabled=False):
            channel = torch.arange(0, self.hidden_size, 2, device=tokens.device, dtype=torch.float32)
            frequency = 1.0 / self.base ** (channel / self.hidden_size)
            angle = position.clamp(0, POSITIONS - 1)[:, None] * frequency  # [T, D / 2]
            first, second = tokens.float().chunk(2, dim=-1)
            cos, sin = angle.cos(), angle.sin()
            turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
        return torch.where(grid.known[:, None], turned.to(tokens.dtype), tokens)
