"""Rooms shared by the scene tests."""

from __future__ import annotations

import numpy as np
import pytest

from sdvlm.scenes.rooms import Room, make_room


@pytest.fixture(scope="package")
def rooms() -> list[Room]:
    """Thirty rooms of different seeds."""
    return [make_room(np.random.default_rng(seed)) for seed in range(30)]
