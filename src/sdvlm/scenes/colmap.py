"""COLMAP's text model: cameras and posed pictures (``cameras.txt``, ``images.txt``).

Poses are stored world-to-camera as a quaternion (w, x, y, z) and a translation, OpenCV axes; the points a picture sees
are on the line after it and are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.lens import Lens
from sdvlm.types import Camera, SdvlmError

__all__ = ["PosedImage", "lens_of_model", "read_colmap", "rotation_of_quaternion"]

_MODELS: dict[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
}


@dataclass(frozen=True, eq=False)
class PosedImage:
    """A picture's name, the lens it was taken through and its (4, 4) camera-to-world, which may not be finite."""

    name: str
    lens: Lens
    T_world_cam: NDArray[np.float64]


def lens_of_model(model: str, width: int, height: int, parameters: dict[str, float]) -> Lens:
    """The lens of a camera model's named parameters (fx or f, fy, cx, cy, k1..k4, p1, p2; absent ones are 0).

    Raises:
        SdvlmError: a model we do not know, or impossible numbers.
    """
    if model not in _MODELS:
        raise SdvlmError(f"camera model {model} is not known; known are {', '.join(_MODELS)}")
    fx = parameters.get("fx", parameters.get("f", 0.0))
    camera = Camera(width, height, fx, parameters.get("fy", fx), parameters.get("cx", 0.0), parameters.get("cy", 0.0))
    k1, k2, k3, k4, p1, p2 = (parameters.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if model == "OPENCV_FISHEYE":
        return Lens(camera, "fisheye", (k1, k2, k3, k4))
    if "PINHOLE" in model:
        return Lens(camera)
    return Lens(camera, "radial_tangential", (k1, k2, p1, p2))


def rotation_of_quaternion(w: float, x: float, y: float, z: float) -> NDArray[np.float64]:
    """(3, 3) rotation of a quaternion of any length; NaN for one of length zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        w, x, y, z = np.array([w, x, y, z]) / np.sqrt(w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def read_colmap(folder: Path) -> list[PosedImage]:
    """Every picture of the model in ``folder``, by name.

    Raises:
        SdvlmError: a file is missing or damaged, or a camera model is not known.
    """
    lenses = _cameras(folder / "cameras.txt")
    path, images = folder / "images.txt", []
    lines = iter(_lines(path))
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split(maxsplit=9)
        next(lines, None)  # the points this picture sees
        try:
            numbers = [float(word) for word in words[1:8]]
            lens, name = lenses[int(words[8])], words[9].strip()
        except (ValueError, IndexError, KeyError) as error:
            raise SdvlmError(
                f"{path}: expected 'IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME', a known camera; got '{line[:100]}'"
            ) from error
        T_world_cam = np.eye(4)
        R_cam_world = rotation_of_quaternion(*numbers[:4])
        T_world_cam[:3, :3] = R_cam_world.T
        T_world_cam[:3, 3] = -R_cam_world.T @ np.array(numbers[4:])
        images.append(PosedImage(name, lens, T_world_cam))
    return sorted(images, key=lambda image: image.name)


def _cameras(path: Path) -> dict[int, Lens]:
    lenses = {}
    for line in _lines(path):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            number, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            names = _MODELS.get(model, ())
            parameters = dict(zip(names, (float(word) for word in words[4:]), strict=bool(names)))
            lenses[number] = lens_of_model(model, width, height, parameters)
        except SdvlmError as error:
            raise SdvlmError(f"{path}: {error}") from error
        except (ValueError, IndexError) as error:
            raise SdvlmError(
                f"{path}: expected 'CAMERA_ID MODEL WIDTH HEIGHT PARAMS...'; got '{line[:100]}'"
            ) from error
    return lenses


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SdvlmError(f"{path}: cannot be read as text ({error})") from error
