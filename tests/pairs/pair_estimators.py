"""Estimators that tests name as ``module:attribute``, so that workers in other processes can load them too."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from sdvlm.depth.estimator import DepthEstimate
from sdvlm.types import Camera, DepthKind, DepthMap


class Brightness:
    """Metres from brightness; a picture's first pixel may ask for trouble."""

    id, licence, kind = "brightness", "MIT", DepthKind.METRIC
    pause_s = 0.0

    def estimate(self, images: Sequence[Any], cameras: Sequence[Camera | None] | None = None) -> list[DepthEstimate]:
        return [self._one(image, camera) for image, camera in zip(images, cameras or [None] * len(images), strict=True)]

    def _one(self, image: Any, camera: Camera | None) -> DepthEstimate:
        time.sleep(self.pause_s)
        values = 1 + image.mean(axis=2, dtype=np.float64) / 100
        trouble = tuple(image[0, 0].tolist())
        if trouble == NAN:
            values[:] = np.nan
        if trouble == FAILS:
            raise RuntimeError("this picture is too much")
        if trouble == SMALL:
            values = values[:-1]
        if trouble == SPARSE:
            values[1:] = np.inf
        return DepthEstimate(DepthMap(values, self.kind, self.id), camera)


class Slow(Brightness):
    """The same, slowly enough to be killed on the way."""

    pause_s = 0.08


class Inverse(Brightness):
    """Says that its numbers are no metres."""

    id, kind = "inverse", DepthKind.DISPARITY


NAN, FAILS, SMALL, SPARSE = (1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)
