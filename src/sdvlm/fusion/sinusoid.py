"""The sine/cosine code of a depth coordinate: SD-VLM's depth positional encoding (arXiv 2509.17664, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdvlm.types import SdvlmError

__all__ = ["SINE_DTYPES", "sinusoid"]

SINE_DTYPES = {"float32": torch.float32, "float16": torch.float16}
"""what frequencies, angles, sines and cosines may be computed in"""


def sinusoid(coordinate: Tensor, dim: int, base: float = 10_000.0, dtype: str = "float32") -> Tensor:
    """Sine/cosine code of a coordinate, whatever the model's dtype.

    At positions up to 100 a bfloat16 angle is 0.5 rad coarse, so angles, sines and cosines are computed in float32 and
    cast once by the caller. ``dtype="float16"`` rounds positions, frequencies, angles and sines to half precision, as
    the released SD-VLM code does when it runs in half precision (``depth_sincos_encoding``): up to 0.1 away from
    float32 at positions up to 100.

    Args:
        coordinate: (*b,) float, unitless, from ``fusion.coordinate``; NaN where depth is unknown.
        dim: width of the code, even.
        base: slowest wavelength over fastest; frequency k is ``base ** (-k / (dim / 2))``.
        dtype: a key of ``SINE_DTYPES``.

    Returns:
        (*b, dim) float32: channel 2k holds sin, channel 2k + 1 cos of frequency k; zero where ``coordinate`` is NaN.

    Raises:
        SdvlmError: ``dim`` is odd or not positive, or there is no such dtype.
    """
    if dim <= 0 or dim % 2:
        raise SdvlmError(f"the width of a sine code must be even and positive; got {dim}")
    if dtype not in SINE_DTYPES:
        raise SdvlmError(f"no sine dtype '{dtype}'; choose one of {', '.join(SINE_DTYPES)}")
    device = coordinate.device.type
    with torch.autocast(device_type="cpu" if device == "meta" else device, enabled=False):  # meta knows no autocast
        known = ~torch.isnan(coordinate)
        position = torch.where(known, coordinate.float(), 0.0).to(SINE_DTYPES[dtype])
        angle = position.unsqueeze(-1) * _frequencies(dim // 2, base, position)  # [*b, dim / 2]
        code = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)  # [*b, dim]
        return code.float() * known.unsqueeze(-1)


def _frequencies(count: int, base: float, like: Tensor) -> Tensor:
    """(count,) from 1 down towards 1 / base, in the dtype and on the device of ``like``."""
    steps = torch.arange(count, device=like.device, dtype=like.dtype)
    if like.dtype == torch.float32:
        return torch.exp(steps * (-math.log(base) / count))
    return 1.0 / base ** (steps / count)  # rounded after each step, in the released order
