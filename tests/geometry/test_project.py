"""Projection against the pinhole formula written out per point, and against itself backwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.geometry.project import camera_rays, invert_pose, project, ray_to_z, transform_points, unproject
from sdvlm.types import Box3D, Camera, SdvlmError

CAMERA = Camera(7, 5, 6.0, 8.0, 3.1, 2.7)


def _pose(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = q, rng.normal(size=3)
    return T


def test_unprojected_points_follow_the_pinhole_formula_at_pixel_centres():
    depth = np.random.default_rng(0).uniform(0.5, 5, (5, 7))
    points = unproject(depth, CAMERA)
    for i in range(5):
        for j in range(7):
            x = (j + 0.5 - 3.1) * depth[i, j] / 6.0
            y = (i + 0.5 - 2.7) * depth[i, j] / 8.0
            assert points[i, j] == pytest.approx([x, y, depth[i, j]])


@given(st.integers(1, 9), st.integers(1, 9), st.floats(1, 50), st.floats(1, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_projecting_what_was_unprojected_gives_the_pixel_centres_and_the_depth(width, height, fx, fy, seed):
    camera = Camera(width, height, fx, fy, width / 3, height / 1.7)
    depth = np.random.default_rng(seed).uniform(0.1, 20, (height, width))
    uv, z = project(unproject(depth, camera), camera)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    np.testing.assert_allclose(uv[..., 0], columns, atol=1e-9)
    np.testing.assert_allclose(uv[..., 1], rows, atol=1e-9)
    np.testing.assert_allclose(z, depth)


def test_unknown_depth_gives_unknown_points():
    depth = np.full((5, 7), 2.0)
    depth[1, 2] = np.nan
    points = unproject(depth, CAMERA)
    assert np.isnan(points[1, 2]).all()
    assert np.isnan(points).sum() == 3


def test_a_map_of_another_size_than_the_camera_is_refused_with_both_sizes():
    with pytest.raises(SdvlmError, match="depth is 5x7 pixels but the camera is for 7x5"):
        unproject(np.ones((7, 5)), CAMERA)


def test_points_behind_the_camera_have_no_pixel_but_keep_their_z():
    uv, z = project([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], CAMERA)
    assert np.isnan(uv[:2]).all()
    assert uv[2] == pytest.approx([3.1, 2.7])
    assert z.tolist() == [-1.0, 0.0, 1.0]


def test_ray_length_becomes_depth_along_the_axis():
    points = unproject(np.random.default_rng(1).uniform(1, 4, (5, 7)), CAMERA)
    length = np.sqrt((points**2).sum(axis=-1))
    np.testing.assert_allclose(ray_to_z(length, CAMERA), points[..., 2])


def test_rays_reach_the_points_at_their_depth():
    depth = np.random.default_rng(2).uniform(1, 4, (5, 7))
    np.testing.assert_allclose(camera_rays(CAMERA) * depth[..., None], unproject(depth, CAMERA))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_pose_and_its_inverse_cancel(seed):
    rng = np.random.default_rng(seed)
    T, points = _pose(rng), rng.normal(size=(2, 4, 3))
    np.testing.assert_allclose(invert_pose(T) @ T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(transform_points(invert_pose(T), transform_points(T, points)), points, atol=1e-12)


def test_transforming_points_equals_homogeneous_multiplication():
    rng = np.random.default_rng(3)
    T, points = _pose(rng), rng.normal(size=(6, 3))
    expected = [(T @ np.append(point, 1.0))[:3] for point in points]
    np.testing.assert_allclose(transform_points(T, points), expected)


def test_a_chain_of_poses_reads_from_right_to_left():
    rng = np.random.default_rng(4)
    T_world_cam, T_cam_box, point = _pose(rng), _pose(rng), rng.normal(size=3)
    one_by_one = transform_points(T_world_cam, transform_points(T_cam_box, point))
    np.testing.assert_allclose(transform_points(T_world_cam @ T_cam_box, point), one_by_one)


def test_a_box_moved_by_a_pose_and_its_points_moved_by_it_agree():
    T, box = _pose(np.random.default_rng(5)), Box3D.from_yaw([1, 2, 3], [1, 2, 0.5], 0.4)
    np.testing.assert_allclose(box.transformed(T).corners(), transform_points(T, box.corners()), atol=1e-12)
