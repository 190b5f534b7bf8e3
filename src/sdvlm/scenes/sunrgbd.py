"""Read SUN RGB-D's official folders: every picture is a scene, its world z-up with the camera at the origin.

Pictures of one room may lie in several folders (sun3d); to keep rooms apart between training and test use the official
split, which scenes carry where the toolbox's ``allsplit.mat`` and SciPy are there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sdvlm.extras import is_installed
from sdvlm.scenes.pictures import picture_size
from sdvlm.scenes.reader import MissingFile
from sdvlm.scenes.rgbd_folder_files import DepthFile, check_picture, make_frame
from sdvlm.scenes.scene import Scene, SceneObject
from sdvlm.scenes.sunrgbd_boxes import json_objects
from sdvlm.scenes.sunrgbd_layout import DEPTH_FOLDERS, SunrgbdPaths, find_folders
from sdvlm.scenes.sunrgbd_meta import BOXES, SPLIT, find_table, look_up, read_boxes, read_split
from sdvlm.types import SdvlmError

__all__ = ["SunrgbdReader"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SunrgbdReader:
    """Reads the pictures below ``root`` (the folder ``SUNRGBD``, its parent, or a part of it)."""

    root: Path
    depth: Literal["refined", "raw"] = "refined"
    """"refined": ``depth_bfx``, holes filled by the data set, as its toolbox takes it; "raw": ``depth``, as measured"""
    boxes: Literal["auto", "json", "toolbox"] = "auto"
    """"toolbox": ``SUNRGBDMeta3DBB_v2.mat`` (needs SciPy); "json": ``annotation3Dfinal``; "auto": what there is"""
    name: str = field(default="sunrgbd", init=False)

    def __post_init__(self) -> None:
        if self.depth not in DEPTH_FOLDERS:
            raise SdvlmError(f"depth must be one of {', '.join(DEPTH_FOLDERS)}; got {self.depth!r}")
        if self.boxes not in ("auto", "json", "toolbox"):
            raise SdvlmError(f"boxes must be one of auto, json, toolbox; got {self.boxes!r}")

    def scene_ids(self) -> list[str]:
        """Paths of the pictures' folders below the root, "__" for "/"."""
        found = sorted(_scene_id(self.root, folder) for folder in find_folders(self.root))
        if not found:
            raise SdvlmError(
                f"{self.root}: no folder with image/, depth/ or depth_bfx/, and intrinsics.txt below; is it SUN RGB-D?"
            )
        if len(set(found)) != len(found):
            raise SdvlmError(f"{self.root}: two folders have the same id; rename those with '__' in their name")
        return found

    def missing(self) -> list[MissingFile]:
        """Pictures, depth, calibration, tilt or annotation that folders lack."""
        table = self._table()
        return [
            MissingFile(_scene_id(self.root, folder), path.relative_to(self.root).as_posix(), purpose)
            for folder in find_folders(self.root)
            for path, purpose in self._missing(SunrgbdPaths(folder), table is not None)
        ]

    def read(self, scene_id: str) -> Scene:
        """One picture.

        Raises:
            SdvlmError: no such folder, files are missing (all are named), or one cannot be read.
        """
        folder: Path | None = self.root.joinpath(*scene_id.split("__"))
        if folder is None or ".." in folder.parts or not folder.is_dir():
            folder = next((one for one in find_folders(self.root) if _scene_id(self.root, one) == scene_id), None)
        if folder is None:
            raise SdvlmError(f"{self.root}: no picture {scene_id}")
        paths, table = SunrgbdPaths(folder), self._table()
        if gone := [f"{one.relative_to(folder).as_posix()} ({why})" for one, why in self._missing(paths, bool(table))]:
            raise SdvlmError(f"{folder}: missing {', '.join(gone)}")
        image, depth = paths.image(), paths.depth(self.depth)
        if image is None or depth is None:
            raise SdvlmError(f"{folder}: picture or depth is gone")
        camera = paths.camera(picture_size(image))
        check_picture(image, camera)
        objects, R_world_cam = self._annotation(paths, table)
        pose = np.eye(4)
        pose[:3, :3] = R_world_cam
        frame = make_frame(folder.name, scene_id, image, DepthFile(depth, codec="sunrgbd"), camera, pose)
        frames, split = (replace(frame, objects=objects),), self._split(folder)
        return Scene(scene_id, objects, frames, source="sunrgbd", split=split, exhaustive=False)

    def _missing(self, paths: SunrgbdPaths, has_table: bool) -> Iterator[tuple[Path, str]]:
        if paths.image() is None:
            yield paths.folder / "image" / "*.jpg", "the picture"
        if paths.depth(self.depth) is None:
            yield paths.folder / DEPTH_FOLDERS[self.depth][-1] / "*.png", "measured depth"
        if not paths.intrinsics.is_file():
            yield paths.intrinsics, "intrinsics"
        if has_table:
            return
        if paths.extrinsics() is None:
            yield paths.folder / "extrinsics" / "*.txt", "tilt of the camera"
        if not paths.boxes.is_file():
            yield paths.boxes, "3D boxes"

    def _table(self) -> Path | None:
        """The toolbox's boxes, if they are to be used."""
        found = None if self.boxes == "json" else find_table(self.root, BOXES)
        if self.boxes == "toolbox" and found is None:
            raise SdvlmError(f"{self.root}: no {BOXES} here, beside it or in SUNRGBDtoolbox/Metadata; use boxes='json'")
        if self.boxes == "auto" and found is not None and not is_installed("scipy"):
            logger.warning("%s is not used: SciPy is not installed; boxes come from annotation3Dfinal", found)
            return None
        return found

    def _annotation(
        self, paths: SunrgbdPaths, table: Path | None
    ) -> tuple[tuple[SceneObject, ...], NDArray[np.float64]]:
        if table is None:
            return json_objects(paths.boxes), paths.R_world_cam()
        entry = self._look_up(read_boxes(table), paths.folder)
        if entry is None:
            raise SdvlmError(f"{paths.folder}: {table.name} has no such picture; use boxes='json'")
        return entry.objects, entry.R_world_cam

    def _split(self, folder: Path) -> str | None:
        table = find_table(self.root, SPLIT)
        return None if table is None or not is_installed("scipy") else self._look_up(read_split(table), folder)

    def _look_up(self, table: dict[str, T], folder: Path) -> T | None:
        """By the whole path (which may hold ``SUNRGBD/``), else by the path below the root."""
        whole, below = folder.resolve().as_posix(), folder.relative_to(self.root).as_posix()
        found = look_up(table, whole)
        return look_up(table, below) if found is None else found


def _scene_id(root: Path, folder: Path) -> str:
    return "__".join(folder.relative_to(root).parts) or folder.resolve().name
