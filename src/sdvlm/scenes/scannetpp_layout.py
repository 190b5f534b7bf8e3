"""Where ScanNet++ keeps what (names as in the release).

A scene folder ``data/<id>/``:
  ``scans/mesh_aligned_0.05.ply`` mesh, ``scans/segments.json`` segment of each vertex, ``scans/segments_anno.json``
  segments of each object; ``dslr/`` and ``iphone/`` with pictures and poses (`ScannetppPaths.pictures`, `.colmap`,
  `.transforms`); ``iphone/depth/frame_%06d.png`` or ``iphone/depth.bin``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Device", "ScannetppPaths"]

Device = Literal["dslr", "iphone"]

_EXTRACT = "ffmpeg -i iphone/rgb.mkv -start_number 0 -q:v 1 iphone/rgb/frame_%06d.jpg"


@dataclass(frozen=True)
class ScannetppPaths:
    """Paths of one scene; its id is the folder's name."""

    folder: Path

    @property
    def scene_id(self) -> str:
        """As in "0a5c013435"."""
        return self.folder.name

    @property
    def mesh(self) -> Path:
        """The annotated mesh, aligned, metres."""
        return self.folder / "scans" / "mesh_aligned_0.05.ply"

    @property
    def segments(self) -> Path:
        """Segment of each vertex."""
        return self.folder / "scans" / "segments.json"

    @property
    def annotation(self) -> Path:
        """Segments, label and box of each object."""
        return self.folder / "scans" / "segments_anno.json"

    def colmap(self, device: Device) -> Path:
        """Folder of the COLMAP text model."""
        return self.folder / device / "colmap"

    def transforms(self, device: Device, undistorted: bool = False) -> Path:
        """Cameras and poses as nerfstudio takes them."""
        name = "transforms_undistorted.json" if undistorted else "transforms.json"
        return self.folder / device / "nerfstudio" / name

    def pictures(self, device: Device, undistorted: bool = False) -> Path:
        """Folder of the colour pictures."""
        if device == "iphone":
            return self.folder / "iphone" / "rgb"
        return self.folder / "dslr" / ("resized_undistorted_images" if undistorted else "resized_images")

    @property
    def depth_pictures(self) -> Path:
        """Folder of extracted phone depth: 16-bit PNG, millimetres."""
        return self.folder / "iphone" / "depth"

    @property
    def depth_bin(self) -> Path:
        """Phone depth of all frames in one file."""
        return self.folder / "iphone" / "depth.bin"

    def has_undistorted(self) -> bool:
        """Whether the release's own undistorted DSLR pictures are there with their cameras."""
        return has_files(self.pictures("dslr", True)) and self.transforms("dslr", True).is_file()

    def has_colmap(self, device: Device) -> bool:
        """Whether both files of the text model are there."""
        return all((self.colmap(device) / name).is_file() for name in ("cameras.txt", "images.txt"))

    def is_scene(self) -> bool:
        """Whether the folder looks like a scene, whole or not."""
        return self.annotation.is_file() or self.mesh.is_file()

    def lacking(self, device: Device) -> list[tuple[Path, str]]:
        """What reading needs and is not there, with what it is for."""
        wanted = [(self.mesh, "mesh"), (self.segments, "segments of the mesh"), (self.annotation, "objects")]
        lacking = [(path, purpose) for path, purpose in wanted if not path.is_file()]
        undistorted = device == "dslr" and self.has_undistorted()
        if not has_files(self.pictures(device, undistorted)):
            purpose = "pictures"
            if device == "iphone":
                purpose += f": video is not decoded here; extract its frames: {_EXTRACT}"
            lacking.append((self.pictures(device), purpose))
        if not (self.has_colmap(device) or self.transforms(device).is_file() or undistorted):
            purpose = "cameras and poses in the mesh's frame (or nerfstudio/transforms.json)"
            if device == "iphone":
                purpose += "; those of pose_intrinsic_imu.json are in ARKit's own frame"
            lacking.append((self.colmap(device), purpose))
        if device == "iphone" and not (has_files(self.depth_pictures) or self.depth_bin.is_file()):
            lacking.append((self.depth_bin, "depth (or depth/frame_%06d.png)"))
        return lacking


def has_files(folder: Path) -> bool:
    """Whether a folder is there and holds something."""
    try:
        with os.scandir(folder) as entries:
            return any(not entry.name.startswith(".") for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False
