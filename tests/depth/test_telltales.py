import numpy as np
import pytest

from sdvlm.depth.codes import spatialbot_encode, sunrgbd_encode
from sdvlm.depth.telltales import (
    eight_bit_content,
    grows_downwards,
    implausible_metres,
    min_max_normalised,
    spatialbot_code,
    sunrgbd_shift,
)


def room_mm(seed: int = 0) -> np.ndarray:
    """A smooth surface between 1 and 6 metres with holes, in millimetres."""
    rng = np.random.default_rng(seed)
    depth = (1000 + 5000 * np.linspace(0, 1, 80 * 60)).reshape(60, 80) + rng.integers(0, 30, (60, 80))
    depth[10:20, 10:30] = 0
    return depth.astype(np.uint16)


def test_an_ordinary_millimetre_map_has_no_telltale() -> None:
    stored = room_mm()
    assert sunrgbd_shift(stored) is None
    assert eight_bit_content(stored) is None
    assert min_max_normalised(stored) is None
    assert implausible_metres(stored * 0.001) is None


def test_a_map_of_sensor_limits_and_near_things_is_not_taken_for_a_stretched_one() -> None:
    stored = room_mm()
    stored[0, :10] = 65535  # no return
    assert min_max_normalised(stored) is None


def test_bit_shifted_depth_is_recognised_also_beyond_8_metres() -> None:
    ramp = np.linspace(1000, 4000, 4800).astype(np.uint16).reshape(60, 80)
    assert "median 2.50 m then" in (sunrgbd_shift(sunrgbd_encode(ramp)) or "")
    far = room_mm()
    far[40:45] = 9000
    assert sunrgbd_shift(sunrgbd_encode(far)) is not None


@pytest.mark.parametrize("step", [256, 257])
def test_an_8_bit_picture_saved_as_16_bits_is_recognised(step: int) -> None:
    stored = (np.arange(256, dtype=np.uint16) * step).reshape(16, 16)
    assert f"multiple of {step}" in (eight_bit_content(stored) or "")


@pytest.mark.parametrize(("top", "dtype"), [(1.0, np.float32), (255.0, np.float32), (65535, np.uint16)])
def test_a_map_stretched_to_a_code_range_is_recognised(top: float, dtype: type) -> None:
    stored = np.linspace(0, top, 4800).reshape(60, 80).astype(dtype)
    assert f"0..{top:g}" in (min_max_normalised(stored) or "")
    assert min_max_normalised((stored[:50] * dtype(0.5)).astype(dtype)) is None


def test_metres_must_have_a_plausible_median() -> None:
    assert "not metres" in (implausible_metres(np.full((4, 4), 2500.0)) or "")
    assert "unit is wrong" in (implausible_metres(np.full((4, 4), 0.002)) or "")
    assert implausible_metres(np.full((4, 4), np.nan)) is None


def test_spatialbots_code_is_told_from_an_ordinary_picture() -> None:
    assert spatialbot_code(spatialbot_encode(room_mm())) is not None
    assert spatialbot_code(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)) is None


def test_inverse_depth_of_a_floor_is_told_by_growing_downwards() -> None:
    depth = np.linspace(6, 1, 60)[:, None] * np.ones((1, 80))
    depth[5:9] = np.nan
    assert grows_downwards(depth) is None
    assert "as inverse depth is" in (grows_downwards(1 / depth) or "")
    assert grows_downwards(np.full((60, 80), 2.0)) is None
    assert grows_downwards(np.full((60, 80), np.nan)) is None
