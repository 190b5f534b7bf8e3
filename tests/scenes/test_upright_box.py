import math

import numpy as np
import pytest

from sdvlm.scenes.upright_box import axis_aligned_box, upright_box
from sdvlm.types import Box3D, SdvlmError


def smallest_area_by_search(points: np.ndarray) -> float:
    """Smallest rectangle in plan over headings a hundredth of a degree apart."""
    areas = []
    for angle in np.radians(np.arange(0, 90, 0.01)):
        cos, sin = math.cos(angle), math.sin(angle)
        along, across = points[:, 0] * cos + points[:, 1] * sin, points[:, 1] * cos - points[:, 0] * sin
        areas.append(np.ptp(along) * np.ptp(across))
    return min(areas)


@pytest.mark.parametrize("seed", range(6))
def test_area_equals_an_exhaustive_search_and_all_points_are_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 3)) * (2.0, 0.7, 0.4)
    box = upright_box(points)
    local = (points - box.center) @ box.rotation
    assert (np.abs(local) <= box.size / 2 + 1e-9).all()
    assert np.ptp(local, axis=0) == pytest.approx(box.size)
    assert box.size[0] * box.size[1] == pytest.approx(smallest_area_by_search(points), rel=1e-3)
    assert box.size[0] * box.size[1] <= smallest_area_by_search(points) + 1e-9


@pytest.mark.parametrize("yaw_deg", [-80, -45, -20, 0, 3, 45, 89, 97.2])
def test_a_box_is_found_again_from_its_corners(yaw_deg: float) -> None:
    made = Box3D.from_yaw(np.array([1.0, -2.0, 0.5]), np.array([2.0, 0.6, 1.0]), math.radians(yaw_deg))
    found = upright_box(made.corners())
    assert found.center == pytest.approx(made.center)
    assert found.size == pytest.approx(made.size)
    assert found.rotation == pytest.approx(made.rotation, abs=1e-9)


@pytest.mark.parametrize("sides", [4, 8, 12, 14])
def test_round_and_square_things_keep_their_box_under_float_noise(sides: int) -> None:
    rng = np.random.default_rng(sides)
    angle = 2 * np.pi * np.arange(sides) / sides + 0.3
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    points = np.vstack([np.column_stack([ring, np.full(sides, z)]) for z in (0.0, 0.4)])
    boxes = [upright_box(points + rng.normal(0, 1e-6, points.shape)) for _ in range(20)]
    for box in boxes[1:]:
        assert box.size == pytest.approx(boxes[0].size, abs=2e-4)
        assert box.rotation == pytest.approx(boxes[0].rotation, abs=2e-4)


def test_the_first_side_is_the_longer_one_and_up_stays_up() -> None:
    points = np.random.default_rng(3).uniform(size=(40, 3)) * (0.3, 2.0, 1.0)
    box = upright_box(points)
    assert box.size[0] > box.size[1]
    assert np.allclose(box.rotation[:, 2], [0, 0, 1])


def test_a_flat_or_single_point_set_has_a_box() -> None:
    line = np.array([[0.0, 0, 0], [3.0, 4.0, 0]])
    assert upright_box(line).size == pytest.approx([5.0, 0.0, 0.0], abs=1e-9)
    assert upright_box(np.array([[1.0, 2.0, 3.0]])).center == pytest.approx([1.0, 2.0, 3.0])


def test_axis_aligned_box_is_minimum_and_maximum() -> None:
    points = np.array([[0.0, 1.0, 2.0], [2.0, -1.0, 5.0], [1.0, 0.0, 3.0]])
    box = axis_aligned_box(points)
    assert box.center == pytest.approx([1.0, 0.0, 3.5])
    assert box.size == pytest.approx([2.0, 2.0, 3.0])
    assert np.array_equal(box.rotation, np.eye(3))


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.array([[np.nan, 0, 0]]), np.zeros((3, 2))])
def test_points_that_make_no_box_are_refused(points: np.ndarray) -> None:
    with pytest.raises(SdvlmError, match="finite points"):
        upright_box(points)
