import math

import numpy as np
import pytest

from sdvlm.scenes.furniture import Material
from sdvlm.scenes.look import Light, Look
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.scene import SceneMesh
from sdvlm.scenes.viewpoints import look_at
from sdvlm.types import Camera, SdvlmError

CAMERA = Camera(64, 48, 55.0, 60.0, 30.0, 26.0)
QUAD = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)


def quads(*parts: tuple[list[list[float]], tuple[int, int, int], int]) -> SceneMesh:
    """A mesh of rectangles: four corners, colour, instance."""
    return SceneMesh(
        vertices=np.array([corner for corners, _, _ in parts for corner in corners], dtype=np.float32),
        faces=np.vstack([QUAD + 4 * index for index in range(len(parts))]).astype(np.int32),
        colors=np.repeat(np.array([color for _, color, _ in parts], dtype=np.uint8), 4, axis=0),
        instances=np.repeat(np.array([instance for _, _, instance in parts], dtype=np.int32), 4),
    )


def facing(z: float, half: float, x: float = 0.0) -> list[list[float]]:
    """A square across the optical axis of a camera at the origin."""
    return [[x - half, -half, z], [x + half, -half, z], [x + half, half, z], [x - half, half, z]]


def test_depth_of_a_tilted_plane_follows_the_formula_at_every_pixel() -> None:
    normal, offset = np.array([0.3, -0.2, 1.0]), 4.0
    corners = [
        [x, y, (offset - normal[0] * x - normal[1] * y) / normal[2]] for x, y in [(-9, -9), (9, -9), (9, 9), (-9, 9)]
    ]
    depth, _ = Renderer(quads((corners, (200, 10, 10), 1))).trace(CAMERA, np.eye(4))
    for row in range(CAMERA.height):
        for column in range(CAMERA.width):
            ray = np.array([(column + 0.5 - 30.0) / 55.0, (row + 0.5 - 26.0) / 60.0, 1.0])
            assert depth[row, column] == pytest.approx(offset / (normal @ ray), rel=1e-5)


def test_depth_is_along_the_axis_not_along_the_ray() -> None:
    depth, _ = Renderer(quads((facing(3.0, 50.0), (9, 9, 9), 1))).trace(CAMERA, np.eye(4))
    assert depth == pytest.approx(np.full((48, 64), 3.0), rel=1e-5)


def test_depth_inside_a_room_equals_that_of_its_walls(rooms: list[Room]) -> None:
    room = rooms[0]
    position, pose = np.array([0.1, -0.2, 1.5]), look_at(0.7, 0.4, np.array([0.1, -0.2, 1.5]))
    shell = room.mesh.face_instances == 0
    mesh = SceneMesh(room.mesh.vertices, room.mesh.faces[shell], room.mesh.colors, room.mesh.instances)
    depth, _ = Renderer(mesh).trace(CAMERA, pose)
    low, high = np.array([*-room.size[:2] / 2, 0.0]), np.array([*room.size[:2] / 2, room.size[2]])
    for row, column in [(0, 0), (10, 50), (47, 63), (30, 20), (47, 0)]:
        ray = pose[:3, :3] @ np.array([(column + 0.5 - 30.0) / 55.0, (row + 0.5 - 26.0) / 60.0, 1.0])
        to_walls = [((high if d > 0 else low)[axis] - position[axis]) / d for axis, d in enumerate(ray) if d != 0]
        assert depth[row, column] == pytest.approx(min(to_walls), rel=1e-4)


def test_instances_are_the_nearest_thing_and_nothing_is_nan() -> None:
    mesh = quads((facing(2.0, 0.4), (200, 10, 10), 7), (facing(4.0, 1.2), (10, 10, 200), 3))
    depth, instances = Renderer(mesh).trace(CAMERA, np.eye(4))
    for row, column in [(26, 30), (26, 45), (0, 0), (40, 30)]:
        x, y = (column + 0.5 - 30.0) / 55.0, (row + 0.5 - 26.0) / 60.0
        near, far = max(abs(x * 2), abs(y * 2)) <= 0.4, max(abs(x * 4), abs(y * 4)) <= 1.2
        assert instances[row, column] == (7 if near else 3 if far else 0)
        expected = 2.0 if near else 4.0 if far else math.nan
        assert depth[row, column] == pytest.approx(expected, nan_ok=True)


def test_a_picture_of_several_bands_has_the_same_depth_as_a_small_one() -> None:
    corners = [[-9.0, -9.0, 3.0], [9.0, -9.0, 5.0], [9.0, 9.0, 5.0], [-9.0, 9.0, 3.0]]
    renderer = Renderer(quads((corners, (9, 9, 9), 1)))
    small = Camera(40, 30, 35.0, 35.0, 20.0, 15.0)
    large = Camera(200, 150, 175.0, 175.0, 100.0, 75.0)
    coarse, fine = renderer.trace(small, np.eye(4))[0], renderer.trace(large, np.eye(4))[0]
    assert fine[2::5, 2::5] == pytest.approx(coarse, rel=1e-5)


def test_colour_keeps_the_ratios_of_the_surface() -> None:
    mesh = quads((facing(3.0, 50.0), (180, 90, 45), 1))
    image = Renderer(mesh).render(CAMERA, np.eye(4), Look(exposure_ev=-1.0)).image
    assert (image == image[0, 0]).all()

    def linear(value: float) -> float:
        unit = value / 255
        return unit / 12.92 if unit <= 0.04045 else ((unit + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(float(channel)) for channel in image[0, 0])
    assert red / green == pytest.approx(linear(180) / linear(90), rel=0.05)
    assert green / blue == pytest.approx(linear(90) / linear(45), rel=0.05)


def test_vertex_colours_are_blended_across_a_triangle() -> None:
    mesh = quads((facing(3.0, 3.0), (0, 0, 0), 1))
    mesh.colors[:] = [[0, 0, 0], [255, 255, 255], [255, 255, 255], [0, 0, 0]]
    row = Renderer(mesh).render(CAMERA, np.eye(4), Look(exposure_ev=-1.0)).image[20, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[-1] > row[0] + 60


def test_a_thing_between_lamp_and_wall_casts_its_shadow() -> None:
    wall, screen = facing(4.0, 50.0), facing(2.0, 0.2, x=1.0)
    lamp = Light((2.0, 0.0, 0.0), (5.0, 5.0, 5.0))  # the screen at x = 1, z = 2 shadows the wall at x = 0, z = 4
    shown = Renderer(quads((wall, (200, 200, 200), 0), (screen, (200, 200, 200), 1)))
    open_wall = Renderer(quads((wall, (200, 200, 200), 0)))
    look = Look(lights=(lamp,), ambient=0.1)
    with_screen, without = (r.render(CAMERA, np.eye(4), look).image.astype(int)[26, 30] for r in (shown, open_wall))
    assert with_screen.mean() < 0.6 * without.mean()
    no_shadow = Look(lights=(lamp,), ambient=0.1, shadows=False)
    assert shown.render(CAMERA, np.eye(4), no_shadow).image.astype(int)[26, 30].mean() > 1.4 * with_screen.mean()


def test_supersampling_smooths_colour_but_leaves_depth_and_ids() -> None:
    mesh = quads((facing(2.0, 0.41), (250, 250, 250), 7), (facing(4.0, 9.0), (5, 5, 5), 3))
    plain = Renderer(mesh).render(CAMERA, np.eye(4))
    smooth = Renderer(mesh).render(CAMERA, np.eye(4), Look(supersample=3))
    assert np.array_equal(plain.depth_m, smooth.depth_m)
    assert np.array_equal(plain.instances, smooth.instances)
    assert len(np.unique(plain.image)) == 2
    assert len(np.unique(smooth.image)) > 3


def test_texture_varies_a_material_around_its_colour_and_can_be_turned_off() -> None:
    mesh = quads((facing(2.0, 9.0), (150, 100, 60), 1))
    renderer = Renderer(mesh, np.full(2, Material.WOOD, dtype=np.uint8))
    grained = renderer.render(CAMERA, np.eye(4), Look()).image.astype(float)
    flat = renderer.render(CAMERA, np.eye(4), Look(texture_strength=0.0)).image.astype(float)
    assert flat.std(axis=(0, 1)).max() == 0
    assert 1 < grained.std(axis=(0, 1)).max() < 20
    assert grained.mean(axis=(0, 1)) == pytest.approx(flat.mean(axis=(0, 1)), abs=4)


def test_noise_comes_from_the_generator_and_needs_one() -> None:
    renderer = Renderer(quads((facing(2.0, 9.0), (150, 150, 150), 1)))
    look = Look(noise_std=5.0, exposure_ev=-1.0)
    first, again, other = (
        renderer.render(CAMERA, np.eye(4), look, np.random.default_rng(seed)).image.astype(float) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.std() == pytest.approx(5.0, rel=0.1)
    with pytest.raises(SdvlmError, match="generator"):
        renderer.render(CAMERA, np.eye(4), look)


def test_blur_keeps_the_mean_and_lessens_contrast() -> None:
    mesh = quads((facing(2.0, 0.41), (250, 250, 250), 7), (facing(4.0, 9.0), (5, 5, 5), 3))
    sharp = Renderer(mesh).render(CAMERA, np.eye(4)).image.astype(float)
    blurred = Renderer(mesh).render(CAMERA, np.eye(4), Look(blur_px=2.0)).image.astype(float)
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=0.03)
    assert np.abs(np.diff(blurred, axis=1)).max() < 0.5 * np.abs(np.diff(sharp, axis=1)).max()
