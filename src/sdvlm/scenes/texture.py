"""Solid textures: how much lighter or darker a material is at a point in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.furniture import Material

__all__ = ["texture_gain"]

Array = NDArray[np.float32]


def _hash(*cells: NDArray[np.floating], seed: int) -> Array:
    """A fixed pseudo-random number in -1..1 for each integer cell."""
    mixed = np.full(cells[0].shape, seed * 2_654_435_761 % 2**32, dtype=np.uint32)
    for cell, prime in zip(cells, (73_856_093, 19_349_663, 83_492_791), strict=False):
        mixed ^= np.floor(cell).astype(np.int32).astype(np.uint32) * np.uint32(prime)
        mixed ^= mixed >> np.uint32(13)
        mixed *= np.uint32(1_274_126_177)
    return (mixed >> np.uint32(8)).astype(np.float32) * np.float32(2 / 2**24) - np.float32(1)


def _wood(x: Array, y: Array, z: Array, seed: int) -> Array:
    along = 23 * (x + y) + 61 * z + seed % 7
    return np.asarray(
        0.05 * np.sin(along + 2.0 * np.sin(4.1 * x + 3.3 * y)) + 0.03 * np.sin(2.7 * along), dtype=np.float32
    )


def _fabric(x: Array, y: Array, z: Array, seed: int) -> Array:
    return np.float32(0.07) * _hash(x / 0.012, y / 0.012, z / 0.012, seed=seed)


def _planks(x: Array, y: Array, z: Array, seed: int) -> Array:
    a, b = (x, y) if seed % 2 else (y, x)
    row = np.floor(a / 0.16)
    column = b / 1.1 + 0.37 * (row % 3)
    seam = (a / 0.16 - row < 0.03).astype(np.float32)
    gain: Array = 0.13 * _hash(row, column, seed=seed) + 0.04 * np.sin(19 * b + 55 * a) - 0.25 * seam
    return gain


def _tiles(x: Array, y: Array, z: Array, seed: int) -> Array:
    side = 0.3 + 0.1 * (seed % 3)
    seam = (np.minimum(x / side % 1, y / side % 1) < 0.025).astype(np.float32)
    gain: Array = 0.04 * _hash(x / side, y / side, seed=seed) - 0.25 * seam
    return gain


def _carpet(x: Array, y: Array, z: Array, seed: int) -> Array:
    return 0.08 * _hash(x / 0.02, y / 0.02, seed=seed) + 0.05 * _hash(x / 0.13, y / 0.13, seed=seed + 1)


_TEXTURES = {
    Material.WOOD: _wood,
    Material.FABRIC: _fabric,
    Material.PLANKS: _planks,
    Material.TILES: _tiles,
    Material.CARPET: _carpet,
}


def texture_gain(
    points: NDArray[np.float32],
    materials: NDArray[np.uint8],
    distance_m: NDArray[np.float32],
    seed: int,
    strength: float = 1.0,
) -> NDArray[np.float32]:
    """Factor on the colour at surface points; 1 on plain materials.

    Args:
        points: (N, 3) world coordinates, metres.
        materials: (N,) `Material` codes.
        distance_m: (N,) how far away the point is; fine grain fades with it, as it would under a lens.
        seed: another seed, another grain.
        strength: 0 turns texture off.

    Returns:
        (N,) float32.
    """
    gain = np.ones(materials.shape, dtype=np.float32)
    fade = np.float32(strength) / np.maximum(np.float32(1), distance_m / np.float32(3))
    for code, texture in _TEXTURES.items():
        chosen = np.flatnonzero(materials == code)
        if len(chosen):
            x, y, z = points.take(chosen, axis=0).T
            gain[chosen] += fade[chosen] * texture(x, y, z, seed)
    return gain
