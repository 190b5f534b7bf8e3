import numpy as np
import pytest

from sdvlm.scenes.sensor import SensorConfig, sensor_depth
from sdvlm.types import SdvlmError

NO_HOLES = {"edge_hole": 0.0, "dark_hole": 0.0, "blobs": 0}


def flat(value: float) -> np.ndarray:
    return np.full((120, 160), value, dtype=np.float32)


def test_noise_grows_with_the_square_of_depth() -> None:
    config = SensorConfig(noise_floor_m=0.0, noise_per_m=0.002, **NO_HOLES)
    for depth in (1.0, 2.0, 4.0):
        seen = sensor_depth(flat(depth), np.random.default_rng(0), config)
        assert (seen - depth).std() == pytest.approx(0.002 * depth**2, rel=0.05)
        assert (seen - depth).mean() == pytest.approx(0.0, abs=0.001 * depth)


def test_what_is_out_of_range_is_lost() -> None:
    config = SensorConfig(noise_floor_m=0.0, noise_per_m=0.0, range_m=(0.5, 6.0), **NO_HOLES)
    depth = flat(2.0)
    depth[:40], depth[80:] = 0.3, 7.0
    seen = sensor_depth(depth, np.random.default_rng(0), config)
    assert np.isnan(seen[:40]).all()
    assert np.isnan(seen[80:]).all()
    assert np.array_equal(seen[40:80], depth[40:80])


def test_edges_are_lost_with_their_chance_and_the_inside_is_kept() -> None:
    config = SensorConfig(noise_floor_m=0.0, noise_per_m=0.0, edge_hole=1.0, dark_hole=0.0, blobs=0)
    depth = flat(2.0)
    depth[:, 80:] = 3.0
    seen = sensor_depth(depth, np.random.default_rng(0), config)
    assert np.isnan(seen[:, 79:81]).all()
    assert np.array_equal(np.delete(seen, [79, 80], axis=1), np.delete(depth, [79, 80], axis=1))


def test_dark_surfaces_are_lost_and_bright_ones_are_not() -> None:
    config = SensorConfig(edge_hole=0.0, dark_hole=0.8, blobs=0)
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    image[:, 80:] = 200
    seen = sensor_depth(flat(2.0), np.random.default_rng(0), config, image)
    assert np.isnan(seen[:, :80]).mean() == pytest.approx(0.8, abs=0.02)
    assert np.isfinite(seen[:, 80:]).all()


def test_round_holes_are_connected_areas() -> None:
    config = SensorConfig(edge_hole=0.0, dark_hole=0.0, blobs=4)
    lost = np.isnan(sensor_depth(flat(2.0), np.random.default_rng(3), config))
    assert 0 < lost.mean() < 0.3
    lonely = lost[1:-1, 1:-1] & ~(lost[:-2, 1:-1] | lost[2:, 1:-1] | lost[1:-1, :-2] | lost[1:-1, 2:])
    assert lonely.sum() <= 2


def test_unknown_depth_stays_unknown_and_the_input_is_untouched() -> None:
    depth = flat(2.0)
    depth[5, 5] = np.nan
    before = depth.copy()
    seen = sensor_depth(depth, np.random.default_rng(0))
    assert np.isnan(seen[5, 5])
    assert np.array_equal(depth, before, equal_nan=True)


def test_a_generator_state_gives_the_same_picture() -> None:
    first, again = (sensor_depth(flat(2.0), np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, again, equal_nan=True)


@pytest.mark.parametrize("bad", [{"range_m": (3.0, 1.0)}, {"edge_hole": 1.5}, {"dark_hole": -0.1}])
def test_settings_that_make_no_sense_are_refused(bad: dict) -> None:
    with pytest.raises(SdvlmError):
        SensorConfig(**bad)
