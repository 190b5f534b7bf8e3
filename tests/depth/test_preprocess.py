from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.depth.preprocess import StretchProcessor, load_processor, prepare, resample


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_stretching_samples_between_pixel_centres_as_a_loop_does() -> None:
    image = picture(7, 5)
    processor = StretchProcessor((4, 6), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), normalize_first=True)
    found = processor(image).numpy()
    assert found.shape == (3, 6, 4)
    for row in range(6):
        for column in range(4):
            y, x = (row + 0.5) * 5 / 6 - 0.5, (column + 0.5) * 7 / 4 - 0.5
            y, x = min(max(y, 0), 4), min(max(x, 0), 6)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, 4), min(x0 + 1, 6)
            fy, fx = y - y0, x - x0
            corners = [
                (y0, x0, (1 - fy) * (1 - fx)),
                (y0, x1, (1 - fy) * fx),
                (y1, x0, fy * (1 - fx)),
                (y1, x1, fy * fx),
            ]
            value = sum(image[j, i] / 255 * weight for j, i, weight in corners)
            expected = (value - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
            np.testing.assert_allclose(found[:, row, column], expected, atol=1e-5)


def test_stretching_keeps_a_constant_picture_constant() -> None:
    for normalize_first in (True, False):
        found = StretchProcessor((9, 11), do_normalize=False, normalize_first=normalize_first)(
            np.full((30, 40, 3), 51, np.uint8)
        )
        assert torch.allclose(found, torch.full((3, 11, 9), 0.2), atol=1e-6)


@pytest.mark.parametrize("size", [(60, 40), (43, 71), (28, 42)])
def test_our_padding_is_the_processors_own(checkpoint: Callable[[str], Path], size: tuple[int, int]) -> None:
    processor = load_processor("dpt", str(checkpoint("dpt_dinov2")), None)
    image = picture(*size)
    theirs = processor(images=image, return_tensors="pt")["pixel_values"][0]
    ours = prepare("dpt", processor, image)
    assert torch.equal(ours.pixel_values, theirs.float())
    height, width = theirs.shape[-2:]
    left, top, right, bottom = ours.inside
    assert ((right - left) * width, (bottom - top) * height) == pytest.approx(size)


def test_zoedepths_reflected_border_is_known(checkpoint: Callable[[str], Path]) -> None:
    """The padded picture has int(3 sqrt(side / 2)) more pixels on every side (ZoeDepth, fusion-methods.md 5)."""
    processor = load_processor("zoedepth", str(checkpoint("zoedepth")), None)
    left, top, right, bottom = prepare("zoedepth", processor, picture(200, 98)).inside
    assert (left, right) == pytest.approx((30 / 260, 230 / 260))
    assert (top, bottom) == pytest.approx((21 / 140, 119 / 140))


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 9), w=st.integers(1, 9), height=st.integers(1, 20), width=st.integers(1, 20))
def test_resampling_never_leaves_the_range_and_equals_plain_bilinear(h: int, w: int, height: int, width: int) -> None:
    values = torch.from_numpy(np.random.default_rng(h * 10 + w).uniform(-1, 5, (h, w)).astype(np.float32))
    found = resample(values, (0.0, 0.0, 1.0, 1.0), (width, height))
    assert found.shape == (height, width)
    assert found.min() >= values.min() - 1e-5
    assert found.max() <= values.max() + 1e-5
    plain = torch.nn.functional.interpolate(values[None, None], (height, width), mode="bilinear", align_corners=False)
    assert torch.allclose(found, plain[0, 0], atol=1e-4)


def test_resampling_a_part_takes_that_part_only() -> None:
    values = torch.zeros(10, 20)
    values[2:6, 5:15] = 1.0
    inside = (5 / 20, 2 / 10, 15 / 20, 6 / 10)
    assert torch.allclose(resample(values, inside, (10, 4)), torch.ones(4, 10), atol=1e-5)
