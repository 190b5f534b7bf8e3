from pathlib import Path

import numpy as np
import pytest

from sdvlm.scenes.colmap import read_colmap, rotation_of_quaternion
from sdvlm.types import SdvlmError

# The example of COLMAP's own documentation (format of output, text).
CAMERAS = (
    "# Number of cameras: 3\n1 SIMPLE_PINHOLE 3072 2304 2559.81 1536 1152\n2 PINHOLE 3072 2304 2560.56 2561 1536 1152\n"
)
IMAGES = (
    "# Image list with two lines of data per image:\n"
    "1 0.851773 0.0165051 0.503764 -0.142941 -0.737434 1.02973 3.74354 1 P1180141.JPG\n"
    "2362.39 248.498 58396 1784.7 268.254 59027 1784.7 268.254 -1\n"
    "2 1 0 0 0 0.5 -1 2 2 other folder/P1180142.JPG\n"
    "\n"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "cameras.txt").write_text(CAMERAS)
    (tmp_path / "images.txt").write_text(IMAGES)
    return tmp_path


def test_poses_are_inverted_and_lenses_are_those_of_the_camera(model: Path) -> None:
    first, second = read_colmap(model)
    assert (first.name, second.name) == ("P1180141.JPG", "other folder/P1180142.JPG")
    assert second.T_world_cam[:3, :3] == pytest.approx(np.eye(3))
    assert second.T_world_cam[:3, 3].tolist() == [-0.5, 1, -2]
    # COLMAP: x_cam = R x_world + t, so the camera's centre goes to the origin
    R, t = rotation_of_quaternion(0.851773, 0.0165051, 0.503764, -0.142941), [-0.737434, 1.02973, 3.74354]
    assert R @ first.T_world_cam[:3, 3] + t == pytest.approx(np.zeros(3), abs=1e-9)
    assert R @ first.T_world_cam[:3, :3] == pytest.approx(np.eye(3), abs=1e-9)
    assert (first.lens.camera.fx, first.lens.camera.fy, first.lens.camera.cx) == (2559.81, 2559.81, 1536)
    assert (second.lens.camera.fx, second.lens.camera.fy) == (2560.56, 2561)


def test_a_quaternion_turns_as_its_axis_and_angle_say() -> None:
    angle, axis = 0.7, np.array([1.0, -2.0, 0.5]) / np.sqrt(5.25)
    R = rotation_of_quaternion(3 * np.cos(angle / 2), *(3 * np.sin(angle / 2) * axis))
    point = np.array([0.3, 0.1, -0.8])
    rodrigues = (
        point * np.cos(angle) + np.cross(axis, point) * np.sin(angle) + axis * (axis @ point) * (1 - np.cos(angle))
    )
    assert R @ point == pytest.approx(rodrigues)


@pytest.mark.parametrize(
    ("model_line", "kind", "coefficients"),
    [
        ("OPENCV 64 48 50 51 32 24 0.1 0.2 0.3 0.4", "radial_tangential", (0.1, 0.2, 0.3, 0.4)),
        ("OPENCV_FISHEYE 64 48 50 51 32 24 0.1 0.2 0.3 0.4", "fisheye", (0.1, 0.2, 0.3, 0.4)),
        ("RADIAL 64 48 50 32 24 0.1 0.2", "radial_tangential", (0.1, 0.2, 0, 0)),
    ],
)
def test_parameters_come_in_the_order_of_their_model(model: Path, model_line, kind, coefficients) -> None:
    (model / "cameras.txt").write_text(f"1 {model_line}\n2 {model_line}\n")
    lens = read_colmap(model)[0].lens
    assert (lens.kind, lens.coefficients) == (kind, coefficients)
    assert (lens.camera.size, lens.camera.cx, lens.camera.cy) == ((64, 48), 32, 24)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("cameras.txt", "1 FOV 64 48 50 50 32 24 0.1\n", "FOV is not known"),
        ("cameras.txt", "1 PINHOLE 64 48 50\n", "expected 'CAMERA_ID"),
        ("cameras.txt", "1 PINHOLE 64 48 -50 50 32 24\n", "focal lengths"),
        ("images.txt", "1 1 0 0 0 0 0 0 9 a.jpg\n\n", "a known camera"),
        ("images.txt", "1 1 0 0\n\n", "expected 'IMAGE_ID"),
        ("images.txt", None, "cannot be read"),
    ],
)
def test_a_damaged_model_is_refused_with_the_file_and_the_line(model: Path, file, text, message) -> None:
    if text is None:
        (model / file).unlink()
    else:
        (model / file).write_text(text)
    with pytest.raises(SdvlmError, match=message) as error:
        read_colmap(model)
    assert file in str(error.value)
    assert "\n" not in str(error.value)
