"""The light layout of single RGB-D pictures: ``index.jsonl`` at the root, a folder a picture (docs/readers.md).

``rgb.jpg``, ``meta.json`` (intrinsics, ``up_cam``), ``depth.png`` in millimetres or ``sparse_depth.json``, and where
annotated ``boxes.json`` (camera frame) and ``instances.png``. Every picture is a scene of its own, in a world that is
level with gravity and has its origin at the camera.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.raw import one_line
from sdvlm.scenes.gravity import LEVEL_UP_CAM, level_pose, vertical_axis_last
from sdvlm.scenes.reader import MissingFile
from sdvlm.scenes.rgbd_folder_fields import Fields, read_fields
from sdvlm.scenes.rgbd_folder_files import DepthFile, check_picture, make_frame, read_mask
from sdvlm.scenes.scene import Scene, SceneObject
from sdvlm.types import Box3D, Camera, SdvlmError

__all__ = ["INDEX", "index_missing", "index_scene_ids", "read_index_scene"]

INDEX = "index.jsonl"
_DEPTHS = ("depth.png", "sparse_depth.json")
_MAX_BYTES = 64 * 2**20


def index_scene_ids(root: Path) -> list[str]:
    """Folders that the index lists, with "__" for "/", sorted.

    Raises:
        SdvlmError: the index cannot be read, or a folder in it leads out of the root.
    """
    return sorted(_folders(root))


def index_missing(root: Path) -> list[MissingFile]:
    """Pictures, metadata or depth that the index promises and the folders lack."""
    told = []
    for scene_id, folder in sorted(_folders(root).items()):
        for name, purpose in (("rgb.jpg", "the picture"), ("meta.json", "intrinsics and gravity")):
            if not (folder / name).is_file():
                told.append(MissingFile(scene_id, (folder / name).relative_to(root).as_posix(), purpose))
        if not any((folder / name).is_file() for name in _DEPTHS):
            told.append(MissingFile(scene_id, (folder / _DEPTHS[0]).relative_to(root).as_posix(), "measured depth"))
    return told


def read_index_scene(root: Path, scene_id: str) -> Scene:
    """One picture as a scene.

    Raises:
        SdvlmError: not in the index, a file is missing or broken, or there are boxes but ``up_cam`` is unknown.
    """
    folder = _folders(root).get(scene_id)
    if folder is None:
        raise SdvlmError(f"{root / INDEX}: lists no {scene_id}")
    meta = read_fields(folder / "meta.json", f"{scene_id}/meta.json")
    camera = _camera(meta)
    annotated = (folder / "boxes.json").is_file()
    if annotated and not meta.has("up_cam"):
        raise meta.error("up_cam", "is missing; boxes need to know which way is up")
    pose = level_pose(meta.array("up_cam", (3,)) if meta.has("up_cam") else LEVEL_UP_CAM)
    picture, depth = folder / "rgb.jpg", next((folder / one for one in _DEPTHS if (folder / one).is_file()), None)
    if depth is None:
        raise SdvlmError(f"{folder}: has neither {' nor '.join(_DEPTHS)}")
    check_picture(picture, camera)
    objects: tuple[SceneObject, ...] = ()
    instances = None
    if annotated:
        objects = _objects(folder / "boxes.json", f"{scene_id}/boxes.json", pose)
        if (folder / "instances.png").is_file():
            instances = _masks(folder, scene_id, objects, camera)
    frame = make_frame("0", scene_id, picture, DepthFile(depth), camera, pose, instances)
    return Scene(scene_id, objects, (replace(frame, objects=objects),), source="rgbd", exhaustive=False)


def _folders(root: Path) -> dict[str, Path]:
    path = root / INDEX
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SdvlmError(f"{path}: is larger than {_MAX_BYTES >> 20} MiB; is it an index of pictures?")
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [str(json.loads(line)["dir"]) for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
        raise SdvlmError(f"{path}: wanted JSON lines with a 'dir' each: {one_line(error)}") from error
    folders = {}
    for one in found:
        parts = PurePosixPath(one).parts
        if not parts or one.startswith("/") or ".." in parts or "\\" in one:
            raise SdvlmError(f"{path}: dir {one!r} is no folder below the root")
        folders["__".join(parts)] = root.joinpath(*parts)
    if not folders:
        raise SdvlmError(f"{path}: lists no pictures")
    return folders


def _camera(meta: Fields) -> Camera:
    """Intrinsics for pixels counted from 0."""
    inner = meta.inner("intrinsics")
    size = {key: meta.integer(key) for key in ("width", "height")}
    return Fields({**inner.values, **size}, inner.where).camera()


def _objects(path: Path, name: str, pose: NDArray[np.float64]) -> tuple[SceneObject, ...]:
    """Boxes, ids counted from 1 in the file's order; "_" in a label is a space."""
    try:
        listed = {"boxes": json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SdvlmError(f"{name}: is not readable JSON: {one_line(error)}") from error
    objects = []
    for number, one in enumerate(Fields(listed, f"{name}: ").items("boxes")):
        size = one.array("size_lwh", (3,))
        if not (size > 0).all():
            raise one.error("size_lwh", f"must be three lengths in metres, each > 0; got {size.tolist()}")
        box = Box3D(
            one.array("center", (3,)), size, one.rotation("R_box_to_cam", one.array("R_box_to_cam", (3, 3)))
        ).transformed(pose)
        objects.append(SceneObject(number + 1, one.text("label").replace("_", " "), vertical_axis_last(box)))
    return tuple(objects)


def _masks(
    folder: Path, scene_id: str, objects: tuple[SceneObject, ...], camera: Camera
) -> Callable[[], NDArray[np.int32]]:
    """Masks with the boxes' ids. ``instances.png`` holds class ids, one instance a class; labels tie the two.

    A box whose label no mask has, or several boxes of one label, keep no pixels.
    """
    path = folder / "instances.json"
    try:
        listed = {"masks": json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SdvlmError(f"{path}: is not readable JSON: {one_line(error)}") from error
    by_label = {one.category: one.id for one in objects}
    twice = {one.category for one in objects if sum(other.category == one.category for other in objects) > 1}
    renumbered: dict[int, int] = {}
    for one in Fields(listed, f"{scene_id}/instances.json: ").items("masks"):
        label = re.sub(r"^\d+ ", "", one.text("label").replace("_", " "))
        if label in by_label and label not in twice:
            renumbered[one.integer("id")] = by_label[label]

    def instances() -> NDArray[np.int32]:
        stored = read_mask(folder / "instances.png", camera.size)
        table = np.zeros(int(stored.max()) + 1, dtype=np.int32)
        for theirs, ours in renumbered.items():
            if theirs < len(table):
                table[theirs] = ours
        return np.asarray(table[stored])

    instances()  # a mask that cannot be read is a fault of the scene
    return instances
