"""Tiny models with depth that a test may change, and pictures, depth and batches to show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sdvlm.models.processor import DepthProcessor
from sdvlm.types import Camera, DepthMap

SIZE = (70, 50)


@dataclass(frozen=True)
class Trainee:
    """A tiny ``DepthVLM`` of a test's own, and its processor."""

    name: str
    model: Any
    processor: DepthProcessor


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def depth_of(seed: int, size: tuple[int, int] = SIZE) -> DepthMap:
    """Metric depth, a tenth of it unknown."""
    rng = np.random.default_rng([seed, 1])
    metres = rng.uniform(1, 5, (size[1], size[0]))
    metres[rng.random(metres.shape) < 0.1] = np.nan
    return DepthMap(metres)


def camera_of(size: tuple[int, int] = SIZE) -> Camera:
    """One that fits the picture."""
    return Camera.from_fov(*size, 60.0)
