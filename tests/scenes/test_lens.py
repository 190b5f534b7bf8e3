import numpy as np
import pytest

from sdvlm.scenes.lens import Lens, pinhole_of, straighten, straighten_nearest
from sdvlm.types import Camera, SdvlmError

from .scannetpp_files import FISHEYE, OPENCV, fisheye_directions, opencv_directions

LENSES = {
    "fisheye": (Lens(Camera(*FISHEYE[:6]), "fisheye", FISHEYE[6]), fisheye_directions(*FISHEYE)),
    "radial_tangential": (Lens(Camera(*OPENCV[:6]), "radial_tangential", OPENCV[6]), opencv_directions(*OPENCV)),
}


def color_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth colour for each direction (x, y, 1)."""
    waves = [np.sin(np.arctan(x)), np.sin(np.arctan(y)), np.sin(np.arctan(x) + np.arctan(y))]
    return np.stack(waves, axis=-1) * 110 + 127


@pytest.mark.parametrize("kind", list(LENSES))
def test_projection_undoes_the_direction_of_each_pixel(kind: str) -> None:
    lens, (x, y) = LENSES[kind]
    u, v = lens.project(x, y)
    assert u == pytest.approx(np.broadcast_to(np.arange(lens.camera.width) + 0.5, u.shape), abs=2e-3)
    assert v == pytest.approx(np.broadcast_to(np.arange(lens.camera.height)[:, None] + 0.5, u.shape), abs=2e-3)


@pytest.mark.parametrize("kind", list(LENSES))
def test_a_straightened_picture_shows_each_direction_where_a_pinhole_does(kind: str) -> None:
    lens, (x, y) = LENSES[kind]
    straight = straighten(color_of(x, y).round().astype(np.uint8), lens)
    camera = pinhole_of(lens)
    assert (camera.size, camera.cx, camera.cy) == (lens.camera.size, camera.width / 2, camera.height / 2)
    a = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    b = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    expected = color_of(*np.meshgrid(a, b))
    assert np.abs(straight - expected).max() < 2.6  # roundings, and bilinear on a smooth picture of few pixels
    assert np.abs(straight - expected).mean() < 0.8


@pytest.mark.parametrize("kind", list(LENSES))
def test_the_view_is_the_widest_in_which_every_pixel_has_a_source(kind: str) -> None:
    lens, _ = LENSES[kind]
    camera = pinhole_of(lens)
    for factor, inside in ((1.0, True), (0.98, False)):
        x = (np.arange(camera.width + 1) - camera.cx) / (camera.fx * factor)
        y = (np.arange(camera.height + 1) - camera.cy) / (camera.fy * factor)
        u, v = lens.project(*np.meshgrid(x, y))
        whole = (u >= 0.499) & (u <= camera.width - 0.499) & (v >= 0.499) & (v <= camera.height - 0.499)
        assert whole.all() == inside


def test_depth_takes_the_depth_pixel_a_direction_falls_in() -> None:
    lens, _ = LENSES["radial_tangential"]
    numbered = np.arange(192 * 256, dtype=np.float32).reshape(192, 256)
    found = straighten_nearest(numbered, lens)
    camera = pinhole_of(lens)
    for row in range(0, camera.height, 11):
        for column in range(0, camera.width, 13):
            px = np.array((column + 0.5 - camera.cx) / camera.fx)
            py = np.array((row + 0.5 - camera.cy) / camera.fy)
            u, v = lens.project(px, py)
            assert found[row, column] == numbered[int(2 * v), int(2 * u)]


def test_what_lies_beyond_the_turning_point_of_a_polynomial_has_no_pixel() -> None:
    lens = Lens(Camera(100, 80, 60, 60, 50, 40), "radial_tangential", (-0.3, 0.0, 0.0, 0.0))  # turns back at r = 1.054
    u, _ = lens.project(np.array([0.5, 1.0, 1.2, 3.0]), np.zeros(4))
    assert np.isfinite(u).tolist() == [True, True, False, False]


def test_a_pinhole_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    for lens in (Lens(Camera(8, 6, 5, 6, 4.2, 3.1)), Lens(Camera(8, 6, 5, 6, 4.2, 3.1), "radial_tangential")):
        assert pinhole_of(lens) == lens.camera
        assert straighten(image, lens) is image


def test_a_lens_follows_pictures_of_another_size_and_refuses_another_shape() -> None:
    lens = LENSES["fisheye"][0]
    half = lens.scaled((48, 32))
    assert (half.camera.fx, half.camera.cy, half.coefficients) == (23.0, 15.6, lens.coefficients)
    with pytest.raises(SdvlmError, match="different cameras"):
        lens.scaled((64, 96))
    with pytest.raises(SdvlmError, match="8x6"):
        straighten(np.zeros((6, 8, 3), np.uint8), lens)
    with pytest.raises(SdvlmError, match="finite"):
        Lens(lens.camera, "fisheye", (np.nan, 0, 0, 0))
