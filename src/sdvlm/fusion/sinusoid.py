"""The sine/cosine code of a depth coordinate: SD-VLM's depth positional encoding (arXiv 2509.17664, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdvlm.types import SdvlmError

__all__ = ["sinusoid"]


def sinusoid(coordinate: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """Sine/cosine code of a coordinate, in float32 whatever the model's dtype.

    At positions up to 100 a bfloat16 angle is 0.5 rad coarse, so angles, sines and cosines are computed in float32 and
    cast once by the caller.

    Args:
        coordinate: (*b,) float, unitless, from ``fusion.coordinate``; NaN where depth is unknown.
        dim: width of the code, even.
        base: slowest wavelength over fastest; frequency k is ``base ** (-k / (dim / 2))``.

    Returns:
        (*b, dim) float32: channel 2k holds sin, channel 2k + 1 cos of frequency k; zero where ``coordinate`` is NaN.

    Raises:
        SdvlmError: ``dim`` is odd or not positive.
    """
    if dim <= 0 or dim % 2:
        raise SdvlmError(f"the width of a sine code must be even and positive; got {dim}")
    half = dim // 2
    with torch.autocast(device_type=coordinate.device.type, enabled=False):
        steps = torch.arange(half, device=coordinate.device, dtype=torch.float32)
        frequency = torch.exp(steps * (-math.log(base) / half))
        known = ~torch.isnan(coordinate)
        position = torch.where(known, coordinate.float(), 0.0)
        angle = position.unsqueeze(-1) * frequency  # [*b, dim / 2]
        code = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)  # [*b, dim]
        return code * known.unsqueeze(-1)
