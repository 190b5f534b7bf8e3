"""Normals of surfaces whose shape is known."""

import numpy as np
import pytest

from sdvlm.geometry.normals import surface_normals
from sdvlm.geometry.project import camera_rays
from sdvlm.types import Camera, DepthMap, SdvlmError

CAMERA = Camera.from_fov(40, 30, 70)


def plane(normal, distance):
    """(H, W) depth of the plane whose points p have normal . p = distance; NaN where it is behind the camera."""
    with np.errstate(divide="ignore"):
        z = distance / (camera_rays(CAMERA) @ np.asarray(normal, dtype=float))
    return np.where(z > 0, z, np.nan)


@pytest.mark.parametrize("normal", [(0, 0, -1), (0, -1, -0.2), (0.6, 0, -0.8), (-0.3, 0.5, -1)])
def test_every_pixel_of_a_plane_has_the_planes_normal(normal):
    unit = np.asarray(normal) / np.linalg.norm(normal)
    z = plane(unit, -2.0)
    z[z > 30] = np.nan
    found = surface_normals(DepthMap(z), CAMERA)
    seen = ~np.isnan(found).any(-1)
    assert seen.sum() > 0.9 * (~np.isnan(z)).sum()
    np.testing.assert_allclose(found[seen], np.broadcast_to(unit, found[seen].shape), atol=1e-3)


def test_an_edge_between_two_surfaces_tilts_neither():
    z = np.full((30, 40), 4.0)
    z[8:20, 10:25] = 1.0
    np.testing.assert_allclose(surface_normals(DepthMap(z), CAMERA), np.broadcast_to([0, 0, -1.0], (30, 40, 3)))


def test_a_sphere_bulges_towards_the_camera():
    rays = camera_rays(CAMERA)
    centre, radius = np.array([0.1, -0.2, 3.0]), 1.0
    a, b, c = (rays**2).sum(-1), -2 * rays @ centre, centre @ centre - radius**2
    root = b**2 - 4 * a * c
    z = np.where(root > 0.5, (-b - np.sqrt(np.maximum(root, 0))) / (2 * a), np.nan)
    truth = (rays * z[..., None] - centre) / radius
    found = surface_normals(DepthMap(z), CAMERA)
    seen = ~np.isnan(found).any(-1)
    assert seen.sum() > 80
    angle = np.degrees(np.arccos(np.clip((found * truth).sum(-1)[seen], -1, 1)))
    assert np.median(angle) < 5


def test_an_unknown_pixel_has_no_normal_and_its_neighbours_keep_theirs():
    z = plane((0, 0, -1), -2.0)
    z[10, 10] = np.nan
    unknown = np.isnan(surface_normals(DepthMap(z), CAMERA)).any(-1)
    assert unknown[10, 10]
    assert unknown.sum() == 1


def test_depth_without_metres_and_a_camera_of_another_size_are_refused():
    z = np.ones((30, 40))
    with pytest.raises(SdvlmError, match="need metric depth"):
        surface_normals(DepthMap(z, kind="relative"), CAMERA)
    with pytest.raises(SdvlmError, match="20x30 pixels but the camera"):
        surface_normals(DepthMap(z[:, :20]), CAMERA)
