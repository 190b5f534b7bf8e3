"""Posed pictures of a ScanNet++ device, from COLMAP or from nerfstudio's ``transforms.json``.

The release makes a ``transform_matrix`` from COLMAP's camera-to-world in three steps: negate columns 1 and 2 (the
camera's y and z), swap rows 0 and 1, negate row 2. The last two permute the *world* to (y, x, -z), which is not the
mesh's any more. All three are undone here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.colmap import PosedImage, lens_of_model, read_colmap
from sdvlm.scenes.lens import Lens
from sdvlm.scenes.scannetpp_layout import Device, ScannetppPaths
from sdvlm.types import SdvlmError

__all__ = ["from_nerfstudio", "posed_images", "read_transforms"]

_LENS_KEYS = {"fl_x": "fx", "fl_y": "fy", **{name: name for name in ("cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2")}}


def from_nerfstudio(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) camera-to-world in the mesh's frame, OpenCV axes, of a ``transform_matrix``."""
    T = matrix.copy()
    T[2] *= -1
    T = T[[1, 0, 2, 3]]
    T[:, 1:3] *= -1
    return T


def read_transforms(path: Path) -> tuple[list[PosedImage], set[str]]:
    """Every picture of a ``transforms.json`` (training and test frames), and the names the release calls bad.

    Raises:
        SdvlmError: not such a file.
    """
    try:
        document = json.loads(path.read_bytes())
        lens = _lens(document)
        listed = [*document["frames"], *document.get("test_frames", [])]
        images = [
            PosedImage(str(one["file_path"]), lens, from_nerfstudio(_matrix(one["transform_matrix"]))) for one in listed
        ]
        bad = {str(one["file_path"]) for one in listed if one.get("is_bad")}
    except SdvlmError as error:
        raise SdvlmError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SdvlmError(
            f"{path}: expected nerfstudio's cameras: fl_x, fl_y, cx, cy, w, h, camera_model and frames with file_path "
            f"and transform_matrix ({type(error).__name__}: {error})"
        ) from error
    return sorted(images, key=lambda image: image.name), bad


def _lens(document: dict[str, Any]) -> Lens:
    parameters = {ours: float(document[key]) for key, ours in _LENS_KEYS.items() if key in document}
    model = str(document.get("camera_model", "PINHOLE"))
    return lens_of_model(model, int(document["w"]), int(document["h"]), parameters)


def _matrix(rows: Any) -> NDArray[np.float64]:
    matrix = np.array(rows, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise SdvlmError(f"transform_matrix must be 4x4; got shape {matrix.shape}")
    return matrix


def posed_images(paths: ScannetppPaths, device: Device, undistorted: bool) -> tuple[list[PosedImage], set[str]]:
    """Pictures with poses in the mesh's frame, by name, and the names of those the release calls bad.

    COLMAP's poses are preferred where both are there. Undistorted pictures take their lens from
    ``transforms_undistorted.json`` in any case.

    Raises:
        SdvlmError: nothing to read poses from, or it is damaged.
    """
    transforms = paths.transforms(device, undistorted)
    straight: list[PosedImage] = []
    bad: set[str] = set()
    if transforms.is_file():
        straight, bad = read_transforms(transforms)
    if not paths.has_colmap(device):
        return straight, bad
    images = read_colmap(paths.colmap(device))
    if undistorted:
        lenses = {image.name: image.lens for image in straight}
        images = [replace(image, lens=lenses[image.name]) for image in images if image.name in lenses]
    return images, bad
