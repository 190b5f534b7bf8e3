"""Pictures of many looks, and small data sets of pairs made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ESTIMATOR = "tests.pairs.pair_estimators:Brightness"


def smooth(seed: int, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """(H, W, 3) uint8 with large shapes of its own, so that no two have nearly the same hash."""
    coarse = np.random.default_rng(seed).integers(20, 236, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """30 pictures in two folders, PNG and JPEG, of two sizes."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(30):
        path = root / ("kitchen" if number % 3 else "bath") / f"{number:02d}.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(smooth(number, (48, 40) if number % 5 else (40, 48))).save(path)
    return root
