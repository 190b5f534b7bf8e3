"""Distances, overlap and picture bounds of boxes, against exhaustive references and dense sampling."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.geometry.boxes import boxes_overlap, center_distance, projected_bounds, surface_distance
from sdvlm.geometry.project import project
from sdvlm.types import Box3D, Camera

EDGES = [(i, j) for i, j in itertools.combinations(range(8), 2) if (i ^ j) in (1, 2, 4)]
SEEDS = st.integers(0, 2**32 - 1)


def _box(rng, spread=2.0, upright=False):
    if upright:
        return Box3D.from_yaw(rng.normal(0, spread, 3), rng.uniform(0.05, 2, 3), rng.uniform(-math.pi, math.pi))
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q[:, 0] *= np.linalg.det(q)
    return Box3D(rng.normal(0, spread, 3), rng.uniform(0.05, 2, 3), q)


def _point_to_box(point, box):
    local = np.abs((point - box.center) @ box.rotation)
    return np.linalg.norm(np.maximum(local - box.size / 2, 0))


def _segment_distance(p, q, r, s):
    """Closest distance of segments pq and rs: the four end-to-segment distances and the crossing of their lines."""

    def to_segment(x, a, b):
        t = np.clip((x - a) @ (b - a) / max((b - a) @ (b - a), 1e-18), 0, 1)
        return np.linalg.norm(x - a - t * (b - a))

    best = min(to_segment(p, r, s), to_segment(q, r, s), to_segment(r, p, q), to_segment(s, p, q))
    normal = np.cross(q - p, s - r)
    if np.linalg.norm(normal) > 1e-12:
        t, u, _ = np.linalg.solve(np.stack([q - p, r - s, normal], axis=1), r - p)
        if 0 <= t <= 1 and 0 <= u <= 1:
            best = min(best, np.linalg.norm(p + t * (q - p) - r - u * (s - r)))
    return best


def _exhaustive_distance(a, b):
    """Of two disjoint polytopes the closest features are a corner and a solid, or two edges."""
    ca, cb = a.corners(), b.corners()
    corners = [_point_to_box(x, b) for x in ca] + [_point_to_box(x, a) for x in cb]
    edges = [_segment_distance(ca[i], ca[j], cb[k], cb[m]) for (i, j), (k, m) in itertools.product(EDGES, EDGES)]
    return min(corners + edges)


def _descent_distance(a, b, steps=1500):
    """Least distance of a point of a and a point of b by accelerated projected gradient descent, nothing geometric."""
    axes = np.concatenate([a.rotation * a.size / 2, -b.rotation * b.size / 2], axis=1)  # [3, 6]
    rate = 1 / np.linalg.norm(axes, 2) ** 2
    place = ahead = np.zeros(6)
    for step in range(steps):
        previous, place = place, np.clip(ahead - rate * axes.T @ (a.center - b.center + axes @ ahead), -1, 1)
        ahead = place + step / (step + 3) * (place - previous)
    return np.linalg.norm(a.center - b.center + axes @ place)


def _grid_inside(box, steps=15):
    axis = np.linspace(-0.5, 0.5, steps)
    unit = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return box.center + (unit * box.size) @ box.rotation.T


def test_center_distance_of_a_3_4_12_offset_is_13():
    assert center_distance(Box3D([1, 1, 1], [1, 1, 1]), Box3D([4, 5, 13], [9, 9, 9])) == 13.0


@given(SEEDS, st.booleans())
@settings(max_examples=25, deadline=None)
def test_surface_distance_equals_the_exhaustive_distance_of_corners_and_edges(seed, upright):
    rng = np.random.default_rng(seed)
    a, b = _box(rng, upright=upright), _box(rng, upright=upright)
    expected = 0.0 if boxes_overlap(a, b) else _exhaustive_distance(a, b)
    assert surface_distance(a, b) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("angle_deg", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("gap", [0.0, 0.001, 0.2])
def test_surface_distance_is_right_for_long_boxes_that_are_almost_parallel(angle_deg, gap):
    # The hard case of iterative methods: closest points slide along two long edges that hardly diverge.
    wall = Box3D([0, 0, 0], [6.0, 0.2, 2.5])
    sofa_yaw = math.radians(angle_deg)
    nearest_corner = 1.1 * math.sin(sofa_yaw) + 0.45 * math.cos(sofa_yaw)  # below the sofa's centre
    sofa = Box3D.from_yaw([0.7, 0.1 + nearest_corner + gap, -0.3], [2.2, 0.9, 0.8], sofa_yaw)
    assert surface_distance(wall, sofa) == pytest.approx(gap, abs=1e-4)
    assert surface_distance(sofa, wall) == pytest.approx(gap, abs=1e-4)


def test_surface_distance_lies_just_below_that_of_densely_sampled_points():
    rng = np.random.default_rng(7)
    for _ in range(5):
        a, b = _box(rng), _box(rng)
        sampled = min(_point_to_box(point, b) for point in _grid_inside(a))
        cell = np.linalg.norm(a.size) / 14
        assert sampled - cell <= surface_distance(a, b) <= sampled + 1e-6


def test_surface_distance_of_a_box_inside_another_is_zero():
    assert surface_distance(Box3D([0, 0, 0], [4, 4, 4]), Box3D([0.3, 0, 1], [0.1, 0.2, 0.3])) == 0.0


@pytest.mark.parametrize(
    ("offset", "expected"),
    [((3, 0, 0), 2.0), ((0, -1, 0), 0.0), ((4, 5, 0), 5.0), ((2, 3, 3), 3.0), ((0.5, 0.5, 0.5), 0.0)],
)
def test_surface_distance_of_unit_cubes_is_what_one_reads_off(offset, expected):
    a, b = Box3D([0, 0, 0], [1, 1, 1]), Box3D(offset, [1, 1, 1])
    assert surface_distance(a, b) == pytest.approx(expected, abs=1e-6)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_boxes_overlap_exactly_when_descent_brings_a_point_of_each_together(seed):
    rng = np.random.default_rng(seed)
    a, b = _box(rng, 0.8), _box(rng, 0.8)
    apart = _descent_distance(a, b)
    if apart > 1e-3:
        assert not boxes_overlap(a, b)
        assert surface_distance(a, b) == pytest.approx(apart, abs=1e-3)
    else:
        assert boxes_overlap(a, b, tolerance=-1e-3)
        assert surface_distance(a, b) <= 1e-3


def test_crossed_bars_that_no_face_separates_do_not_overlap():
    # Two diagonal bars, edge over edge: only the cross product of their axes separates them.
    turn = math.pi / 4
    tilt = np.array([[1, 0, 0], [0, math.cos(turn), -math.sin(turn)], [0, math.sin(turn), math.cos(turn)]])
    other = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ tilt
    half_diagonal = math.sqrt(0.5)
    a = Box3D([0, 0, 0], [6, 1, 1], tilt)
    assert not boxes_overlap(a, Box3D([0, 0, 2 * half_diagonal + 0.01], [6, 1, 1], other))
    assert boxes_overlap(a, Box3D([0, 0, 2 * half_diagonal - 0.01], [6, 1, 1], other))


def test_touching_boxes_do_not_overlap_and_tolerance_forgives_a_shallow_overlap():
    a = Box3D([0, 0, 0], [1, 1, 1])
    assert not boxes_overlap(a, Box3D([1, 0, 0], [1, 1, 1]))
    shallow = Box3D([0.98, 0, 0], [1, 1, 1])
    assert boxes_overlap(a, shallow)
    assert not boxes_overlap(a, shallow, tolerance=0.03)
    assert boxes_overlap(a, shallow, tolerance=0.01)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_distance_and_overlap_do_not_depend_on_the_order_or_the_frame(seed):
    rng = np.random.default_rng(seed)
    a, b, mover = _box(rng, 1.0), _box(rng, 1.0), _box(rng)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = mover.rotation, mover.center
    distance = surface_distance(a, b)
    assert surface_distance(b, a) == pytest.approx(distance, abs=1e-4)
    assert surface_distance(a.transformed(T), b.transformed(T)) == pytest.approx(distance, abs=1e-4)
    assert boxes_overlap(a, b) == boxes_overlap(b.transformed(T), a.transformed(T))


def test_bounds_of_a_box_in_front_are_those_of_its_projected_corners():
    camera = Camera(64, 48, 50.0, 40.0, 30.0, 26.0)
    box = Box3D.from_yaw([0.5, -0.2, 4.0], [1.0, 0.6, 0.8], 0.5)
    uv, _ = project(box.corners(), camera)
    expected = (*uv.min(axis=0), *uv.max(axis=0))
    assert projected_bounds(box, camera) == pytest.approx(expected)


def test_bounds_of_a_box_that_reaches_behind_the_camera_hold_every_visible_point_of_it():
    camera = Camera(64, 48, 50.0, 50.0, 32.0, 24.0)
    table = Box3D([0.2, 0.8, 1.0], [1.0, 0.1, 4.0])  # from z = -1 to 3, below the camera
    left, top, right, bottom = projected_bounds(table, camera)
    points = _grid_inside(table, 60)
    uv, _ = project(points[points[:, 2] > 0.02], camera)
    assert left <= uv[:, 0].min()
    assert uv[:, 0].max() <= right
    assert top == pytest.approx(uv[:, 1].min(), abs=0.5)  # its far edge, in full view
    assert bottom >= uv[:, 1].max()


def test_a_box_behind_the_camera_has_no_bounds():
    assert projected_bounds(Box3D([0, 0, -2], [1, 1, 1]), Camera.from_fov(64, 48, 60)) is None
