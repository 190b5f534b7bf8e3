"""A user's own RGB-D recordings: a folder a scene with ``scene.json`` and ``frames/`` (docs/readers.md).

What a robot or a phone knows of a frame is written beside it: camera, pose or gravity, boxes or masks. Boxes of masks
that have none are fitted to the masks' measured points.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sdvlm.scenes.reader import MissingFile
from sdvlm.scenes.rgbd_folder_fields import read_fields
from sdvlm.scenes.rgbd_folder_files import find_frames
from sdvlm.scenes.rgbd_folder_index import INDEX, index_missing, index_scene_ids, read_index_scene
from sdvlm.scenes.rgbd_folder_scene import SCENE, SceneFile
from sdvlm.scenes.scene import Scene
from sdvlm.types import SdvlmError

__all__ = ["RgbdReader"]

_DEEPEST = 4
"""how many folders below the root a scene may lie"""


@dataclass(frozen=True)
class RgbdReader:
    """Reads folders that hold ``scene.json`` and ``frames/``, and the light layout with ``index.jsonl`` at its root."""

    root: Path
    assume_level: bool = False
    """take cameras without pose and without up_cam as held level"""
    frame_step: int = 1
    """every n-th frame of a scene"""
    name: str = field(default="rgbd", init=False)

    def __post_init__(self) -> None:
        if self.frame_step < 1:
            raise SdvlmError(f"frame_step must be at least 1; got {self.frame_step}")

    def scene_ids(self) -> list[str]:
        """Paths of the scenes' folders below the root with "__" for "/"; the root's own name if it is a scene."""
        if self._is_index():
            return index_scene_ids(self.root)
        found = [_scene_id(self.root, folder) for folder in _scene_folders(self.root)]
        if not found:
            raise SdvlmError(f"{self.root}: no {SCENE} here or in folders below, and no {INDEX}; see docs/readers.md")
        if len(set(found)) != len(found):
            raise SdvlmError(f"{self.root}: two scene folders have the same id; rename folders with '__' in their name")
        return sorted(found)

    def missing(self) -> list[MissingFile]:
        """Folders without pictures, pictures without depth, frames of ``scene.json`` without a picture."""
        if self._is_index():
            return index_missing(self.root)
        told = []
        for folder in _scene_folders(self.root):
            scene_id = _scene_id(self.root, folder)
            told += [
                MissingFile(scene_id, path.relative_to(self.root).as_posix(), purpose)
                for path, purpose in _missing(folder)
            ]
        return told

    def read(self, scene_id: str) -> Scene:
        """One scene. Frames whose own files are broken are skipped with the reason; masks are read, pictures are not.

        Raises:
            SdvlmError: no such scene, files are missing, a field is wrong (it is named), or no frame is left.
        """
        if self._is_index():
            return read_index_scene(self.root, scene_id)
        folder: Path | None = self.root.joinpath(*scene_id.split("__"))
        if folder is None or ".." in folder.parts or not (folder / SCENE).is_file():
            folder = next((one for one in _scene_folders(self.root) if _scene_id(self.root, one) == scene_id), None)
        if folder is None:
            raise SdvlmError(f"{self.root}: no scene {scene_id}")
        if gone := [f"{path.relative_to(folder).as_posix()} ({why})" for path, why in _missing(folder)]:
            more = f" and {len(gone) - 8} more" if len(gone) > 8 else ""
            raise SdvlmError(f"{folder}: missing {', '.join(gone[:8])}{more}")
        return SceneFile(folder, scene_id, assume_level=self.assume_level, frame_step=self.frame_step).read()

    def _is_index(self) -> bool:
        return (self.root / INDEX).is_file() and not (self.root / SCENE).is_file()


def _scene_folders(root: Path) -> Iterator[Path]:
    """Folders with a ``scene.json``, in order; what lies below one is its own business."""
    for folder, below, files in os.walk(root):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith("."))
        if SCENE in files:
            yield here
            below.clear()
        elif len(here.relative_to(root).parts) >= _DEEPEST:
            below.clear()


def _scene_id(root: Path, folder: Path) -> str:
    return "__".join(folder.relative_to(root).parts) or folder.resolve().name


def _missing(folder: Path) -> list[tuple[Path, str]]:
    frames = folder / "frames"
    if not frames.is_dir():
        return [(frames, "the folder of pictures and depth")]
    try:
        found = find_frames(frames)
        declared = read_fields(folder / SCENE, f"{folder.name}/{SCENE}").inner("frames").values
    except SdvlmError:
        return []  # reading the scene tells what is wrong
    told = [(frames / f"{one.name}.depth.png", "depth of the picture") for one in found.values() if one.depth is None]
    told += [
        (frames / f"{Path(name).name}.jpg", f"picture of a frame in {SCENE}") for name in declared if name not in found
    ]
    if not found and not told:
        told = [(frames / "*.jpg", "pictures")]
    return told
