"""Read scenes in ScanNet's layout (`scannet_layout`) into `Scene` in the axis-aligned world frame.

The rules of the release that are easy to miss, all observed here: poses and mesh live in the unaligned frame; a scene
without `axisAlignment` is taken as it is; colour and depth have cameras and sizes of their own; frames whose pose is
not finite are skipped; an instance id is `objectId` + 1; pixel centres of the stored intrinsics lie at integers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.reader import MissingFile
from sdvlm.scenes.register import register_depth, register_moved_depth
from sdvlm.scenes.scannet_cameras import parse_info_matrix
from sdvlm.scenes.scannet_labels import LABEL_TABLE, read_label_table
from sdvlm.scenes.scannet_layout import ScannetPaths, read_info
from sdvlm.scenes.scannet_mesh import read_scannet_mesh
from sdvlm.scenes.scannet_registration import depth_stands_beside
from sdvlm.scenes.scannet_streams import StoredFrame, Stream, extracted_names, open_stream
from sdvlm.scenes.scene import Scene, SceneFrame, SceneMesh, SceneObject
from sdvlm.scenes.scene_folders import check_options, folder_of, scene_folders
from sdvlm.scenes.upright_box import axis_aligned_box, upright_box
from sdvlm.types import Box3D, DepthMap, RgbdFrame, SdvlmError

__all__ = ["ScannetReader", "read_scannet_scene"]

logger = logging.getLogger(__name__)

_BOXES: dict[str, Callable[[NDArray[np.floating]], Box3D]] = {
    "oriented": upright_box,
    "axis_aligned": axis_aligned_box,
}
_LABEL_COLUMNS = {"raw": None, "category": "category", "nyu40": "nyu40class"}
_MOVED = ("auto", "apply", "ignore")
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ScannetReader:
    """Scenes of a folder in ScanNet's layout; see docs/readers.md."""

    root: Path
    """the release (with ``scans/``), the folder of the scenes, or one scene's folder"""
    box: Literal["oriented", "axis_aligned"] = "oriented"
    """smallest upright box of an object's vertices, or their minimum and maximum as ScanNet has it"""
    labels: Literal["raw", "category", "nyu40"] = "raw"
    """words of objects: as annotated, or through the label table; a label that is not in it stays as it is"""
    frame_step: int = 1
    """every n-th stored frame"""
    color_to_depth: Literal["auto", "apply", "ignore"] = "auto"
    """a ``colorToDepthExtrinsics`` that is not the identity: register depth by it if the mesh says that it has not
    been, always, or never"""
    name: ClassVar[str] = "scannet"

    def __post_init__(self) -> None:
        check_options(self, {"box": _BOXES, "labels": _LABEL_COLUMNS, "color_to_depth": _MOVED})

    def scene_ids(self) -> list[str]:
        """Every scene, sorted.

        Raises:
            SdvlmError: the folder holds none.
        """
        return sorted(self._folders())

    def missing(self) -> list[MissingFile]:
        """What the scenes lack, by looking for files only."""
        found = []
        table, root = self._label_table(), Path(self.root).resolve()
        for scene_id, folder in sorted(self._folders().items()):
            lacking = _lacking(ScannetPaths(folder))
            if _LABEL_COLUMNS[self.labels] is not None and table is None:
                lacking.append((root / LABEL_TABLE, f"words of labels={self.labels}"))
            found += [MissingFile(scene_id, os.path.relpath(path, root), purpose) for path, purpose in lacking]
        return found

    def read(self, scene_id: str) -> Scene:
        """One scene.

        Raises:
            SdvlmError: no such scene, files are missing (all are named), or one cannot be read.
        """
        folder = folder_of(self._folders(), scene_id, self.root)
        words, column = None, _LABEL_COLUMNS[self.labels]
        if column is not None:
            words = read_label_table(self._label_table() or Path(self.root) / LABEL_TABLE, column)
        return read_scannet_scene(
            folder,
            self.box,
            words=words,
            frame_step=self.frame_step,
            color_to_depth=self.color_to_depth,
            split=self._splits().get(scene_id),
        )

    def _folders(self) -> dict[str, Path]:
        """Scene id -> folder."""
        wanted = "ScanNet scene; looked for <id>/<id>.aggregation.json, <id>/<id>_vh_clean_2.ply and <id>/<id>.sens"
        return scene_folders(self.root, "scans", _is_scene, wanted)

    def _above(self) -> tuple[Path, ...]:
        """Where files of the release that are not of one scene may lie."""
        root = Path(self.root).resolve()
        return (root, root.parent, root.parent.parent) if _is_scene(root) else (root, root.parent)

    def _label_table(self) -> Path | None:
        return next((folder / LABEL_TABLE for folder in self._above() if (folder / LABEL_TABLE).is_file()), None)

    def _splits(self) -> dict[str, str]:
        """Scene id -> split, from the release's lists where they are there."""
        splits: dict[str, str] = {}
        for split in _SPLITS:
            for folder in self._above():
                path = folder / f"scannetv2_{split}.txt"
                if path.is_file():
                    splits |= dict.fromkeys(path.read_text(errors="replace").split(), split)
                    break
        return splits


def _is_scene(folder: Path) -> bool:
    paths = ScannetPaths(folder)
    return any(path.is_file() for path in (paths.aggregation, paths.mesh, paths.sens))


def read_scannet_scene(
    folder: Path | str,
    box: Literal["oriented", "axis_aligned"] = "oriented",
    *,
    words: Mapping[str, str] | None = None,
    frame_step: int = 1,
    color_to_depth: Literal["auto", "apply", "ignore"] = "auto",
    split: str | None = None,
) -> Scene:
    """Read one scene; pictures and depth are read when a frame is loaded.

    Args:
        folder: the scene's folder, named by its id; frames in folders as ScanNet's exporter writes them, or in the
            ``.sens`` file.
        box: "oriented": the smallest upright box of an object's vertices; "axis_aligned": ScanNet's own, their
            minimum and maximum after alignment.
        words: annotated label -> category to call it by; labels that are not in it stay.
        frame_step: every n-th stored frame.
        color_to_depth: see `ScannetReader`.
        split: the official split of this scene.

    Raises:
        SdvlmError: files are missing (all are named), one cannot be read, or no object or frame is usable.
    """
    if box not in _BOXES:
        raise SdvlmError(f"box must be one of {', '.join(_BOXES)}; got {box!r}")
    paths = ScannetPaths(Path(folder).resolve())
    _refuse_incomplete(paths)
    info = read_info(paths.info)
    T_aligned_raw = parse_info_matrix(info, "axisAlignment", str(paths.info))
    if T_aligned_raw is None:
        T_aligned_raw = np.eye(4)
    mesh, labels = read_scannet_mesh(paths, T_aligned_raw)
    objects = []
    for instance, label in labels.items():
        vertices = mesh.vertices[mesh.instances == instance]
        if len(vertices) == 0:
            logger.warning("%s: object %d (%s) has no vertices; skipped", paths.scene_id, instance - 1, label)
            continue
        objects.append(SceneObject(instance, (words or {}).get(label, label), _BOXES[box](vertices)))
    stream = open_stream(paths, info, frame_step)
    T_color_depth = _depth_place(paths, info, stream, mesh, T_aligned_raw, color_to_depth)
    frames = tuple(_frame(paths, one, stream, T_aligned_raw, T_color_depth) for one in stream.frames)
    if not objects or not frames:
        what, total = ("annotated object", len(labels)) if not objects else ("frame with a pose", len(stream.skipped))
        raise SdvlmError(f"{paths.folder}: the scene is empty, no {what} of {total} is usable")
    for one in stream.skipped:
        logger.info("%s: frame %s skipped: %s", paths.scene_id, one.frame_id, one.reason)
    return Scene(paths.scene_id, tuple(objects), frames, mesh, "scannet", stream.skipped, split=split)


def _lacking(paths: ScannetPaths) -> list[tuple[Path, str]]:
    """Files of a scene that are not there, with what they are for; each folder is listed once."""
    wanted = [
        (paths.mesh, "mesh"),
        (paths.segments, "segments of the mesh"),
        (paths.aggregation, "objects"),
        (paths.info, "alignment and camera sizes"),
    ]
    names = extracted_names(paths)
    lacking = [(path, purpose) for path, purpose in wanted if not path.is_file()]
    if not names:
        if not paths.sens.is_file():
            lacking.append((paths.sens, "frames (or color/*.jpg, depth/, pose/ and intrinsic/ extracted from it)"))
        return lacking
    for which in ("color", "depth"):
        if not paths.intrinsic(which).is_file():
            lacking.append((paths.intrinsic(which), f"{which} camera"))
    for purpose, path_of in (("depth", paths.depth), ("pose", paths.pose)):
        holder = path_of(names[0]).parent
        present = set(os.listdir(holder)) if holder.is_dir() else set()
        if not present:
            lacking.append((holder / f"*{path_of(names[0]).suffix}", f"{purpose} of every frame"))
            continue
        paths_of_kind = [path_of(name) for name in names]
        lacking += [(path, f"{purpose} of a frame") for path in paths_of_kind if path.name not in present]
    return lacking


def _refuse_incomplete(paths: ScannetPaths) -> None:
    """Name every missing file in one message."""
    missing = [str(path.relative_to(paths.folder)) for path, _ in _lacking(paths)]
    if missing:
        more = f" and {len(missing) - 12} more" if len(missing) > 12 else ""
        raise SdvlmError(
            f"{paths.folder} is not a whole ScanNet scene: missing {', '.join(missing[:12])}{more}; "
            "frames come from the .sens file or from ScanNet's exporter"
        )


def _depth_place(
    paths: ScannetPaths,
    info: dict[str, str],
    stream: Stream,
    mesh: SceneMesh,
    T_aligned_raw: NDArray[np.float64],
    color_to_depth: str,
) -> NDArray[np.float64] | None:
    """(4, 4) from the depth camera's frame to the colour camera's if stored depth is not registered, else None."""
    T_depth_color = parse_info_matrix(info, "colorToDepthExtrinsics", str(paths.info))
    if T_depth_color is None or color_to_depth == "ignore" or np.allclose(T_depth_color, np.eye(4), atol=1e-4):
        return None
    if color_to_depth == "auto" and not depth_stands_beside(stream, mesh, T_aligned_raw, T_depth_color):
        return None
    return np.asarray(np.linalg.inv(T_depth_color), dtype=np.float64)


def _frame(
    paths: ScannetPaths,
    stored: StoredFrame,
    stream: Stream,
    T_aligned_raw: NDArray[np.float64],
    T_color_depth: NDArray[np.float64] | None,
) -> SceneFrame:
    T_world_cam = T_aligned_raw @ stored.pose

    def load() -> RgbdFrame:
        image, depth_m = stored.color(), stored.depth_m()
        if T_color_depth is None:
            depth_m = register_depth(depth_m, stream.depth_camera, stream.camera)
        else:
            depth_m = register_moved_depth(depth_m, stream.depth_camera, stream.camera, T_color_depth)
        name = f"{paths.scene_id}/{stored.id}"
        return RgbdFrame(image, DepthMap(depth_m, source="scannet"), stream.camera, T_world_cam, name)

    return SceneFrame(stored.id, stream.camera, T_world_cam, load, stored.path, picture=stored.picture)
