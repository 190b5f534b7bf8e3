"""From linear light to an 8-bit picture: exposure, white balance, highlights, noise, blur."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.look import Look
from sdvlm.types import SdvlmError

__all__ = ["develop"]

_KEY = 0.36
"""mean linear level that automatic exposure aims at; rooms are mostly pale walls"""
_KNEE = 0.75
"""linear level above which highlights are compressed"""
_STEPS = 4096


def _encode_table() -> NDArray[np.float32]:
    """sRGB value 0..255 of linear levels 0..2 in equal steps, with a soft shoulder above the knee."""
    linear = np.linspace(0, 2, _STEPS)
    room = 1 - _KNEE
    level = np.where(linear > _KNEE, _KNEE + room * (1 - np.exp(-(linear - _KNEE) / room)), linear)
    encoded = np.where(level <= 0.0031308, 12.92 * level, 1.055 * np.maximum(level, 1e-9) ** (1 / 2.4) - 0.055)
    return (255 * encoded).astype(np.float32)


_ENCODE = _encode_table()


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur of (H, W, 3), edges repeated."""
    reach = max(1, math.ceil(2.5 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if axis == one else (0, 0) for one in range(3)]
        padded = np.pad(image, pad, mode="edge")
        length = image.shape[axis]
        image = np.asarray(
            sum(
                weight * np.take(padded, np.arange(shift, shift + length), axis) for shift, weight in enumerate(kernel)
            ),
            dtype=np.float32,
        )
    return image


def develop(light: NDArray[np.float32], look: Look, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
    """Expose a picture.

    Args:
        light: (H, W, 3) linear light, any scale: exposure is automatic, then shifted by the look.
        look: exposure, white balance, noise and blur.
        rng: for noise.

    Returns:
        (H, W, 3) uint8 sRGB.

    Raises:
        SdvlmError: noise without a generator.
    """
    mean = float(light.mean())
    gain = _KEY / max(mean, 1e-6) * 2.0**look.exposure_ev
    scale = np.float32(gain * (_STEPS - 1) / 2) * np.array(look.white_balance, dtype=np.float32)
    picture = _ENCODE[np.minimum(light * scale, _STEPS - 1).astype(np.int32)]
    if look.blur_px > 0.05:
        picture = _blurred(picture, look.blur_px)
    if look.noise_std > 0:
        if rng is None:
            raise SdvlmError("a look with noise needs a random generator; pass rng=np.random.default_rng(seed)")
        picture = picture + look.noise_std * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(picture + np.float32(0.5), 0, 255), dtype=np.uint8)
