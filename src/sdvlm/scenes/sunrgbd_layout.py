"""Where SUN RGB-D keeps what: one folder a picture, with its calibration, tilt and depth beside it.

``image/*.jpg``, ``depth/*.png`` and ``depth_bfx/*.png`` (bits rotated, see `sdvlm.depth.codes`), ``intrinsics.txt``
(3x3, first pixel's centre at (1, 1): MATLAB's counting), ``extrinsics/*.txt`` (3x4: rotation into the level frame of
the annotation tool), ``annotation3Dfinal/index.json``, ``annotation2Dfinal/index.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.camera_file import check_camera
from sdvlm.depth.raw import one_line
from sdvlm.types import Camera, SdvlmError

__all__ = ["DEPTH_FOLDERS", "UPRIGHT", "SunrgbdPaths", "exact_rotation", "find_folders"]

UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""camera axes (x right, y down, z forward) to the toolbox's: x right, y forward, z up"""
DEPTH_FOLDERS = {"refined": ("depth_bfx", "depth"), "raw": ("depth",)}
"""where depth is looked for, in this order: refined by the dataset (holes filled), or as measured"""
_DEEPEST = 8


def find_folders(root: Path) -> Iterator[Path]:
    """Folders of pictures below the root, in order."""
    for folder, below, files in os.walk(root):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith("."))
        notes = {"extrinsics", "annotation3Dfinal"}.intersection(below) or "intrinsics.txt" in files
        if "image" in below and {"depth", "depth_bfx"}.intersection(below) and notes:
            yield here
            below.clear()
        elif len(here.relative_to(root).parts) >= _DEEPEST:
            below.clear()


def exact_rotation(matrix: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """(3, 3) the nearest rotation to one printed with few digits.

    Raises:
        SdvlmError: it is not near any.
    """
    if not np.isfinite(matrix).all() or not np.allclose(matrix @ matrix.T, np.eye(3), atol=0.02):
        raise SdvlmError(f"{name}: is no rotation; wanted 3x3 (or 3x4) numbers with unit rows at right angles")
    left, _, right = np.linalg.svd(matrix)
    if np.linalg.det(left @ right) < 0:
        raise SdvlmError(f"{name}: mirrors (determinant -1); wanted a rotation")
    return np.asarray(left @ right)


@dataclass(frozen=True)
class SunrgbdPaths:
    """The files of one picture's folder."""

    folder: Path

    @property
    def intrinsics(self) -> Path:
        """3x3 numbers."""
        return self.folder / "intrinsics.txt"

    @property
    def boxes(self) -> Path:
        """3D annotation."""
        return self.folder / "annotation3Dfinal" / "index.json"

    @property
    def polygons(self) -> Path:
        """2D annotation."""
        return self.folder / "annotation2Dfinal" / "index.json"

    def image(self) -> Path | None:
        """The colour picture."""
        return _first(self.folder / "image", (".jpg", ".jpeg", ".png"))

    def depth(self, kind: str) -> Path | None:
        """The depth picture of a kind of `DEPTH_FOLDERS`."""
        found = (_first(self.folder / name, (".png",)) for name in DEPTH_FOLDERS[kind])
        return next((path for path in found if path is not None), None)

    def extrinsics(self) -> Path | None:
        """The last (newest) tilt; the files are named by their time."""
        files = sorted((self.folder / "extrinsics").glob("*.txt"))
        return files[-1] if files else None

    def camera(self, size: tuple[int, int]) -> Camera:
        """Intrinsics of a picture of ``size`` (width, height).

        Raises:
            SdvlmError: unreadable, or not of such a picture.
        """
        K = _numbers(self.intrinsics, 9).reshape(3, 3)
        try:
            camera = Camera(*size, K[0, 0], K[1, 1], K[0, 2] - 0.5, K[1, 2] - 0.5)
            check_camera(camera, size)
        except SdvlmError as error:
            raise SdvlmError(f"{self.intrinsics}: {error}") from error
        return camera

    def R_world_cam(self) -> NDArray[np.float64]:
        """(3, 3) camera to the z-up frame of the boxes; the translation of the annotation tool is not used.

        The toolbox's ``Rtilt`` is ``UPRIGHT @ E @ UPRIGHT.T`` for the stored rotation E (camera to level frame), and
        applies to points with ``UPRIGHT`` axes.

        Raises:
            SdvlmError: missing, unreadable or no rotation.
        """
        path = self.extrinsics()
        if path is None:
            raise SdvlmError(f"{self.folder}: has no extrinsics/*.txt, so its tilt is unknown")
        values = _numbers(path, 9, 12, 16)
        matrix = values.reshape(3, 3) if len(values) == 9 else values.reshape(-1, 4)[:3, :3]
        return np.asarray(UPRIGHT @ exact_rotation(matrix, str(path)))


def _first(folder: Path, suffixes: tuple[str, ...]) -> Path | None:
    try:
        names = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in suffixes)
    except OSError:
        return None
    return folder / names[0] if names else None


def _numbers(path: Path, *counts: int) -> NDArray[np.float64]:
    try:
        with path.open(encoding="ascii") as stream:
            values = np.array([float(part) for part in stream.read(65536).replace(",", " ").split()])
    except (OSError, ValueError) as error:
        raise SdvlmError(f"{path}: cannot be read as numbers: {one_line(error)}") from error
    if len(values) not in counts or not np.isfinite(values).all():
        wanted = " or ".join(map(str, counts))
        raise SdvlmError(f"{path}: holds {len(values)} numbers; wanted {wanted}, all finite")
    return values
