"""The checker's own geometry, against the project's and against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdvlm.data.verify_boxes import BoxView, nearest_to_origin
from sdvlm.geometry.boxes import surface_distance
from sdvlm.types import Box3D


def view(*boxes: Box3D, up=(0.0, 0.0, 1.0)) -> BoxView:
    corners = {k + 1: box.corners() for k, box in enumerate(boxes)}
    x, y, _ = np.eye(3)
    return BoxView(corners, np.zeros(3), x, y, None if up is None else np.array(up))


def random_box(rng, upright: bool) -> Box3D:
    center, size = rng.normal(0, 1.5, 3), rng.uniform(0.05, 2, 3)
    if upright:
        return Box3D.from_yaw(center, size, rng.choice([0, math.pi / 2, rng.uniform(-3, 3)]))
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q[:, 0] *= np.linalg.det(q)
    return Box3D(center, size, q)


@pytest.mark.parametrize("seed", range(300))
def test_the_gap_equals_the_closed_form(seed):
    rng = np.random.default_rng(seed)
    a, b = random_box(rng, seed % 2 == 0), random_box(rng, seed % 2 == 0)
    assert view(a, b).gap(1, 2) == pytest.approx(surface_distance(a, b), abs=1e-6)


def test_the_gap_of_boxes_apart_along_one_two_or_three_axes():
    unit = np.ones(3)
    for offset, expected in (((3, 0, 0), 2), ((4, 5, 0), 5), ((2, 3, 3), 3), ((0.5, 0, 0), 0)):
        assert view(Box3D(np.zeros(3), unit), Box3D(np.array(offset, float), unit)).gap(1, 2) == pytest.approx(
            expected, abs=1e-9
        )


def test_the_nearest_point_of_a_triangle_may_be_a_corner_an_edge_or_inside():
    triangle = np.array([[1.0, -1, -1], [1, 2, -1], [1, -1, 2]])
    assert nearest_to_origin(triangle) == pytest.approx(1.0)
    assert nearest_to_origin(triangle + np.array([0, 2, 0])) == pytest.approx(math.sqrt(2))
    assert nearest_to_origin(triangle + np.array([0, 3, 3])) == pytest.approx(3.0)


def test_extents_are_sorted_and_the_vertical_one_stands_apart():
    box = Box3D.from_yaw(np.zeros(3), np.array([0.4, 1.5, 0.9]), 0.7)
    assert view(box).extents(1) == pytest.approx((1.5, 0.4, 0.9))
    assert view(box, up=None).extents(1) == pytest.approx((1.5, 0.4, 0.9))
    lying = Box3D(np.zeros(3), np.array([0.4, 1.5, 0.9]), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))
    assert view(lying).extents(1) == pytest.approx((0.9, 0.4, 1.5))


def test_a_slight_tilt_does_not_change_the_extents():
    c, s = math.cos(0.06), math.sin(0.06)
    tilted = Box3D(np.zeros(3), np.array([2.0, 1.0, 0.5]), np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))
    assert view(tilted).extents(1) == pytest.approx((2.0, 1.0, 0.5))


def test_in_front_needs_range_and_depth_to_agree():
    size = np.full(3, 0.2)
    ahead, aside = Box3D(np.array([0, 3.0, 0]), size), Box3D(np.array([4.0, 2, 0]), size)
    boxes = view(ahead, aside)
    assert boxes.order("nearer_than", 1, 2) == "yes"
    assert boxes.order("in_front_of", 1, 2) == "undecided"
    behind = view(ahead, Box3D(np.array([0, 5.0, 0]), size))
    assert behind.order("in_front_of", 1, 2) == behind.order("behind", 2, 1) == "yes"
    assert behind.order("behind", 1, 2) == "no"
