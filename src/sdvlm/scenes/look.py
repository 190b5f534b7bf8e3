"""How a picture of a room is lit and exposed, as data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import SdvlmError

__all__ = ["Light", "Look", "sample_look"]


@dataclass(frozen=True)
class Light:
    """A point light: world position in metres, linear RGB power at one metre."""

    position: tuple[float, float, float]
    power: tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """Light, exposure and what the camera adds."""

    lights: tuple[Light, ...] = ()
    """point lights; with none, surfaces facing up are lit a little more"""
    ambient: float = 0.5
    """light from everywhere, relative to the brightest the lamps give"""
    shadows: bool = True
    """whether lights are blocked by things"""
    exposure_ev: float = 0.0
    """stops brighter or darker than automatic exposure"""
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """gain of red, green, blue"""
    texture_strength: float = 1.0
    """0 turns solid textures off"""
    texture_seed: int = 0
    supersample: int = 1
    """colour rays along each side of a pixel; 2 or 3 smooths edges. Depth and ids stay those of the pixel centre"""
    noise_std: float = 0.0
    """standard deviation of pixel noise, in 8-bit steps; needs a generator"""
    blur_px: float = 0.0
    """standard deviation of a Gaussian blur in pixels"""

    def __post_init__(self) -> None:
        if self.supersample < 1 or self.noise_std < 0 or self.blur_px < 0 or self.ambient < 0:
            raise SdvlmError(
                "a look needs supersample >= 1 and ambient, noise_std, blur_px >= 0; got "
                f"{self.supersample}, {self.ambient}, {self.noise_std}, {self.blur_px}"
            )


def sample_look(
    rng: np.random.Generator,
    room_size: NDArray[np.float64],
    *,
    supersample: int = 1,
    sensor_noise: bool = False,
) -> Look:
    """Light for a room of size (3,) metres: one to three lamps below the ceiling, warm to cool, varied exposure."""
    count = int(rng.choice([1, 2, 3], p=[0.35, 0.45, 0.2]))
    half = room_size[:2] / 2
    lights = []
    for _ in range(count):
        x, y = rng.uniform(-0.7, 0.7, 2) * half
        z = room_size[2] - rng.uniform(0.1, 0.5)
        warmth = rng.normal(0, 0.06)
        strength = rng.uniform(0.7, 1.3) / count
        power = (strength * (1 + warmth), strength, strength * (1 - warmth))
        lights.append(Light((float(x), float(y), float(z)), power))
    gains = np.exp(rng.normal(0, 0.03, 3))
    return Look(
        lights=tuple(lights),
        ambient=float(rng.uniform(0.3, 0.6)),
        exposure_ev=float(rng.normal(0.0, 0.2)),
        white_balance=(float(gains[0]), float(gains[1]), float(gains[2])),
        texture_seed=int(rng.integers(2**20)),
        supersample=supersample,
        noise_std=float(rng.uniform(0.5, 4.0)) if sensor_noise else 0.0,
        blur_px=float(max(0.0, rng.normal(0.2, 0.3))) if sensor_noise else 0.0,
    )
