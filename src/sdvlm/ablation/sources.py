"""Where a cell's depth comes from: the true map, the true map with noise, or an estimate from the picture.

Noise is drawn once a picture and stays with it, in training and at the test. It is one normal number for each patch of
the vision tower, not for each pixel: a token sees the mean over its patch, in which noise of single pixels would
vanish (16 x 16 pixels with 0.7 m each leave 4 cm).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdvlm.ablation.rooms import Rooms
from sdvlm.types import DepthMap

__all__ = ["NEAREST_M", "DepthSource", "estimated", "noisy", "true_depth"]

NEAREST_M = 0.1
"""noise brings nothing nearer than this"""


class DepthSource:
    """Depth of the pictures of some rooms.

    Args:
        name: for tables.
        make: picture to its map; called anew each time.
        follows_scale: whether depth multiplied in truth is multiplied here; not so for an estimate from the picture.
        packed: (F, N, C) depth grids pooled over the token boxes of the pictures, where they are kept; else None.
    """

    def __init__(
        self, name: str, make: Callable[[int], DepthMap], follows_scale: bool = True, packed: Tensor | None = None
    ) -> None:
        self.name, self.make, self.follows_scale, self.packed = name, make, follows_scale, packed

    def map(self, index: int, factor: float = 1.0) -> DepthMap:
        """The map of a picture whose world is ``factor`` times as large."""
        found = self.make(index)
        return found.scaled(factor) if self.follows_scale and factor != 1.0 else found


def true_depth(rooms: Rooms, packed: Tensor | None = None) -> DepthSource:
    """As rendered. ``packed``: see :class:`DepthSource`."""
    return DepthSource("true", rooms.depth, packed=packed)


def noisy(rooms: Rooms, deviation_m: float, patches: int, seed: int) -> DepthSource:
    """True depth plus Gaussian noise.

    Args:
        rooms: the pictures.
        deviation_m: standard deviation in metres.
        patches: per row of the square.
        seed: of the noise; picture i has noise of its own.
    """

    def make(index: int) -> DepthMap:
        true = rooms.depth(index)
        noise = np.random.default_rng([seed, index]).normal(0, deviation_m, (patches, patches)).astype(np.float32)
        values = np.maximum(true.values + blocks(noise, true.values.shape[0]), np.float32(NEAREST_M))
        return replace(true, values=values, source=f"rendered, noise {deviation_m:g} m")

    return DepthSource(f"noise {deviation_m:g} m", make)


def estimated(log_z: NDArray[np.float32], side: int) -> DepthSource:
    """What an estimator saw. ``log_z``: (F, n, n) log of metres of each patch; ``side``: of the square in pixels."""
    return DepthSource(
        "estimate", lambda index: DepthMap(blocks(np.exp(log_z[index]), side), source="estimate"), follows_scale=False
    )


def blocks(patches: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(n, n) values of patches as (side, side) pixels."""
    place = np.arange(side) * len(patches) // side
    return np.asarray(patches[np.ix_(place, place)])
