import numpy as np
import pytest

from sdvlm.scenes.look import Look, sample_look
from sdvlm.types import SdvlmError


def test_lamps_hang_inside_the_room_and_light_varies() -> None:
    size = np.array([4.0, 6.0, 2.5])
    looks = [sample_look(np.random.default_rng(seed), size) for seed in range(40)]
    assert {len(look.lights) for look in looks} == {1, 2, 3}
    for look in looks:
        for lamp in look.lights:
            assert (np.abs(lamp.position[:2]) < size[:2] / 2).all()
            assert 1.5 < lamp.position[2] < 2.5
    assert np.std([look.ambient for look in looks]) > 0.05
    assert np.std([look.exposure_ev for look in looks]) > 0.1


@pytest.mark.parametrize("bad", [{"supersample": 0}, {"noise_std": -1.0}, {"ambient": -0.1}])
def test_impossible_looks_are_refused(bad: dict) -> None:
    with pytest.raises(SdvlmError):
        Look(**bad)
