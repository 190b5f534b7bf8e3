"""What the tests of depth files share: a map with a hole, and what it means to read one or to refuse it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdvlm.depth.io import read_depth
from sdvlm.types import DepthMap, SdvlmError


def room_m(height: int = 48, width: int = 64) -> np.ndarray:
    """Metres between 1 and 6 on a 0.1 mm raster, with a hole."""
    depth = np.round(1 + 5 * np.linspace(0, 1, height * width).reshape(height, width), 4)
    depth[5:9, 6:20] = np.nan
    return depth


def save_png(path: Path, stored: np.ndarray) -> Path:
    Image.fromarray(stored).save(path)
    return path


def same(depth: DepthMap, expected: np.ndarray, atol: float = 0.0) -> None:
    np.testing.assert_array_equal(depth.valid, ~np.isnan(expected))
    np.testing.assert_allclose(depth.values, expected.astype(np.float32), rtol=1e-6, atol=atol)


def refused(path: Path, match: str, **options: object) -> None:
    """Reading is refused with one line that names the file."""
    with pytest.raises(SdvlmError, match=match) as caught:
        read_depth(path, **options)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
