"""Where ScanNet keeps what, and how its small text files are written (names as in the ScanNet release).

A scene folder ``<id>/``:
  ``<id>_vh_clean_2.ply`` mesh, ``<id>_vh_clean_2.labels.ply`` the same with NYU40 labels,
  ``<id>_vh_clean_2.0.010000.segs.json`` segment of each vertex, ``<id>.aggregation.json`` segments of each object,
  ``<id>.txt`` alignment, sizes and intrinsics, ``color/N.jpg``, ``depth/N.png``, ``pose/N.txt``,
  ``intrinsic/{intrinsic,extrinsic}_{color,depth}.txt``; or, instead of the folders of frames, ``<id>.sens``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Camera, SdvlmError

__all__ = ["ScannetPaths", "camera_matrix", "format_matrix", "parse_matrix", "read_info", "write_info"]


@dataclass(frozen=True)
class ScannetPaths:
    """Paths of one scene; its id is the folder's name."""

    folder: Path

    @property
    def scene_id(self) -> str:
        """As in "scene0000_00"."""
        return self.folder.name

    @property
    def mesh(self) -> Path:
        """The annotated mesh."""
        return self.folder / f"{self.scene_id}_vh_clean_2.ply"

    @property
    def labels(self) -> Path:
        """The mesh with NYU40 labels."""
        return self.folder / f"{self.scene_id}_vh_clean_2.labels.ply"

    @property
    def segments(self) -> Path:
        """Segment of each vertex."""
        return self.folder / f"{self.scene_id}_vh_clean_2.0.010000.segs.json"

    @property
    def aggregation(self) -> Path:
        """Segments and label of each object."""
        return self.folder / f"{self.scene_id}.aggregation.json"

    @property
    def info(self) -> Path:
        """Alignment, sizes, intrinsics as ``key = value``."""
        return self.folder / f"{self.scene_id}.txt"

    @property
    def sens(self) -> Path:
        """All frames in one stream, for scenes whose frames were not extracted."""
        return self.folder / f"{self.scene_id}.sens"

    def intrinsic(self, which: str) -> Path:
        """(4, 4) intrinsic matrix of "color" or "depth"."""
        return self.folder / "intrinsic" / f"intrinsic_{which}.txt"

    def extrinsic(self, which: str) -> Path:
        """(4, 4) extrinsic matrix of "color" or "depth"."""
        return self.folder / "intrinsic" / f"extrinsic_{which}.txt"

    def color(self, frame: str) -> Path:
        """Colour picture of a frame."""
        return self.folder / "color" / f"{frame}.jpg"

    def depth(self, frame: str) -> Path:
        """16-bit depth picture of a frame, millimetres, 0 unknown."""
        return self.folder / "depth" / f"{frame}.png"

    def pose(self, frame: str) -> Path:
        """(4, 4) camera-to-world of a frame, in the unaligned frame of the mesh file."""
        return self.folder / "pose" / f"{frame}.txt"


def camera_matrix(camera: Camera) -> NDArray[np.float64]:
    """(4, 4) intrinsics as ScanNet writes them: pixel centres at integers, so half a pixel less than ours."""
    matrix = np.eye(4)
    matrix[:3, :3] = camera.matrix
    matrix[:2, 2] -= 0.5
    return matrix


def format_matrix(matrix: NDArray[np.float64]) -> str:
    """Rows of numbers that read back to the same floats."""
    return "".join(" ".join(repr(float(value)) for value in row) + "\n" for row in matrix)


def parse_matrix(path: Path) -> NDArray[np.float64]:
    """(4, 4) matrix of a text file; entries may be infinite.

    Raises:
        SdvlmError: not there, or not sixteen numbers.
    """
    try:
        return np.array(path.read_text().split(), dtype=np.float64).reshape(4, 4)
    except (OSError, ValueError) as error:
        raise SdvlmError(f"{path}: expected a 4x4 matrix of numbers ({error})") from error


def write_info(path: Path, entries: dict[str, object]) -> None:
    """Write ``key = value`` lines; matrices as sixteen numbers, row by row."""

    def text(value: object) -> str:
        return " ".join(repr(float(one)) for one in value.ravel()) if isinstance(value, np.ndarray) else str(value)

    path.write_text("".join(f"{key} = {text(value)}\n" for key, value in entries.items()))


def read_info(path: Path) -> dict[str, str]:
    """The ``key = value`` lines of a scene's text file.

    Raises:
        SdvlmError: it cannot be read as text.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SdvlmError(f"{path}: cannot be read as lines of 'key = value' ({error})") from error
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}
