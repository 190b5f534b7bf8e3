"""A picture with its depth: what augmentation changes, what a data set of pairs gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Camera, DepthMap, RgbdFrame

__all__ = ["Pair"]


@dataclass(frozen=True, eq=False)
class Pair:
    """One RGB-D pair.

    Args:
        pair_id: unique in its data set.
        scene_id: pairs of one place share it; "" where the source has no scenes.
        image: (H, W, 3) uint8 sRGB, upright.
        depth: of the picture's size; its kind says what its numbers mean, NaN is unknown.
        camera: intrinsics of this picture; None where nobody knows them.

    Raises:
        SdvlmError: depth or camera are of another size than the picture.
    """

    pair_id: str
    scene_id: str
    image: NDArray[np.uint8]
    depth: DepthMap
    camera: Camera | None = None

    def __post_init__(self) -> None:
        RgbdFrame(self.image, self.depth, self.camera, name=self.pair_id)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.depth.size
