"""What a depth sensor makes of true depth: noise that grows with distance, steps, holes.

Noise of a triangulating sensor grows with the square of depth (Khoshelham and Elberink 2012); holes gather at depth
edges, on dark surfaces and out of range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import SdvlmError

__all__ = ["SensorConfig", "sensor_depth"]


@dataclass(frozen=True)
class SensorConfig:
    """A depth sensor; every effect can be turned off with 0."""

    noise_floor_m: float = 0.001
    """standard deviation of the noise near the camera, metres"""
    noise_per_m: float = 0.0015
    """added standard deviation, times depth squared: metres at one metre"""
    range_m: tuple[float, float] = (0.3, 8.0)
    """nearest and farthest depth that is measured, metres"""
    edge_hole: float = 0.7
    """chance that a pixel at a depth edge is lost"""
    dark_hole: float = 0.5
    """chance that a black pixel is lost, falling to none at a quarter of full brightness"""
    blobs: int = 3
    """expected number of round holes"""
    blob_share: float = 0.06
    """largest radius of a round hole, as a share of the picture's width"""

    def __post_init__(self) -> None:
        if not 0 <= self.range_m[0] < self.range_m[1]:
            raise SdvlmError(f"sensor range must be (near, far) with 0 <= near < far metres; got {self.range_m}")
        if not (0 <= self.edge_hole <= 1 and 0 <= self.dark_hole <= 1):
            raise SdvlmError(f"hole chances must lie in 0..1; got edge {self.edge_hole}, dark {self.dark_hole}")


def _edges(depth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) where a neighbour's depth differs by more than a twentieth."""
    edges = np.zeros(depth_m.shape, dtype=bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(depth_m, axis=axis)) > 0.05 * np.take(depth_m, range(depth_m.shape[axis] - 1), axis)
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        edges[tuple(before)] |= jump
        edges[tuple(after)] |= jump
    return edges


def _blobs(shape: tuple[int, int], rng: np.random.Generator, config: SensorConfig) -> NDArray[np.bool_]:
    """(H, W) inside one of a few random ellipses."""
    height, width = shape
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros(shape, dtype=bool)
    for _ in range(int(rng.poisson(config.blobs))):
        center = rng.uniform(0, 1, 2) * (width, height)
        radii = np.maximum(rng.uniform(0.2, 1, 2) * config.blob_share * width, 0.5)
        inside |= ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2 < 1
    return inside


def sensor_depth(
    depth_m: NDArray[np.float32],
    rng: np.random.Generator,
    config: SensorConfig | None = None,
    image: NDArray[np.uint8] | None = None,
) -> NDArray[np.float32]:
    """True depth as a sensor would report it.

    Args:
        depth_m: (H, W) metres along the optical axis, NaN where nothing.
        rng: decides noise and holes.
        config: which sensor.
        image: (H, W, 3) uint8, for holes on dark surfaces; without it there are none of these.

    Returns:
        (H, W) float32 metres, NaN in holes.
    """
    config = config or SensorConfig()
    noise = rng.standard_normal(depth_m.shape, dtype=np.float32)
    seen = depth_m + noise * (config.noise_floor_m + config.noise_per_m * depth_m**2)
    with np.errstate(invalid="ignore"):
        lost = ~((seen >= config.range_m[0]) & (seen <= config.range_m[1]))
        lost |= _edges(depth_m) & (rng.random(depth_m.shape) < config.edge_hole)
    if image is not None and config.dark_hole > 0:
        brightness = image.max(axis=2) / 255.0
        lost |= rng.random(depth_m.shape) < config.dark_hole * np.maximum(0, 1 - 4 * brightness)
    if config.blobs > 0:
        lost |= _blobs((depth_m.shape[0], depth_m.shape[1]), rng, config)
    return np.where(lost, np.float32(np.nan), seen).astype(np.float32)
