"""Read a scene in ScanNet's layout (`scannet_layout`) into a `Scene` in the axis-aligned world frame.

The rules of the release that are easy to miss, all observed here: poses and mesh live in the unaligned frame; a scene
without `axisAlignment` is taken as it is; colour and depth have cameras and sizes of their own; frames whose pose is
not finite are skipped; an instance id is `objectId` + 1; pixel centres of the stored intrinsics lie at integers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.scenes.ply import read_ply
from sdvlm.scenes.register import register_depth
from sdvlm.scenes.scannet_layout import ScannetPaths, parse_matrix, read_info
from sdvlm.scenes.scene import Scene, SceneFrame, SceneMesh, SceneObject
from sdvlm.scenes.upright_box import axis_aligned_box, upright_box
from sdvlm.types import Box3D, Camera, DepthMap, RgbdFrame, SdvlmError

__all__ = ["read_scannet_scene"]

logger = logging.getLogger(__name__)

_BOXES: dict[str, Callable[[NDArray[np.floating]], Box3D]] = {
    "oriented": upright_box,
    "axis_aligned": axis_aligned_box,
}


def read_scannet_scene(folder: Path | str, box: Literal["oriented", "axis_aligned"] = "oriented") -> Scene:
    """Read one scene; pictures and depth are read when a frame is loaded.

    Args:
        folder: the scene's folder, named by its id; frames extracted from the ``.sens`` file.
        box: "oriented": the smallest upright box of an object's vertices; "axis_aligned": ScanNet's own, their
            minimum and maximum after alignment.

    Raises:
        SdvlmError: files are missing (all are named), or one cannot be read.
    """
    if box not in _BOXES:
        raise SdvlmError(f"box must be one of {', '.join(_BOXES)}; got {box!r}")
    paths = ScannetPaths(Path(folder).resolve())
    names = _frame_names(paths)
    _refuse_incomplete(paths, names)
    info = read_info(paths.info)
    T_aligned_raw = _alignment(info, paths.info)
    mesh, labels = _read_mesh(paths, T_aligned_raw)
    objects = []
    for instance, label in labels.items():
        vertices = mesh.vertices[mesh.instances == instance]
        if len(vertices) == 0:
            logger.warning("%s: object %d (%s) has no vertices; skipped", paths.scene_id, instance - 1, label)
            continue
        objects.append(SceneObject(instance, label, _BOXES[box](vertices)))
    frames = _read_frames(paths, names, info, T_aligned_raw)
    return Scene(paths.scene_id, tuple(objects), frames, mesh, source="scannet")


def _frame_names(paths: ScannetPaths) -> list[str]:
    names = [path.stem for path in (paths.folder / "color").glob("*.jpg")]
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _refuse_incomplete(paths: ScannetPaths, names: list[str]) -> None:
    """Name every missing file in one message."""
    wanted = [paths.mesh, paths.segments, paths.aggregation, paths.info]
    wanted += [paths.intrinsic("color"), paths.intrinsic("depth")]
    wanted += [one for name in names for one in (paths.depth(name), paths.pose(name))]
    missing = [str(path.relative_to(paths.folder)) for path in wanted if not path.is_file()]
    if not names:
        missing.append("color/*.jpg")
    if missing:
        more = f" and {len(missing) - 12} more" if len(missing) > 12 else ""
        raise SdvlmError(
            f"{paths.folder} is not a whole ScanNet scene: missing {', '.join(missing[:12])}{more}; "
            "frames come from the .sens file through ScanNet's exporter"
        )


def _alignment(info: dict[str, str], path: Path) -> NDArray[np.float64]:
    if "axisAlignment" not in info:
        return np.eye(4)
    try:
        return np.array(info["axisAlignment"].split(), dtype=np.float64).reshape(4, 4)
    except ValueError as error:
        raise SdvlmError(f"{path}: axisAlignment must be 16 numbers; got '{info['axisAlignment']}'") from error


def _read_json(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_text())[key]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise SdvlmError(f"{path}: expected JSON with '{key}' ({type(error).__name__}: {error})") from error


def _read_mesh(paths: ScannetPaths, T_aligned_raw: NDArray[np.float64]) -> tuple[SceneMesh, dict[int, str]]:
    """The mesh in the aligned frame with instance ids, and the label of each instance."""
    table, faces = read_ply(paths.mesh)
    raw = np.stack([table[axis] for axis in "xyz"], axis=-1).astype(np.float64)
    aligned = raw @ T_aligned_raw[:3, :3].T + T_aligned_raw[:3, 3]
    if {"red", "green", "blue"} <= set(table.dtype.names or ()):
        colors = np.stack([table[channel] for channel in ("red", "green", "blue")], axis=-1).astype(np.uint8)
    else:
        colors = np.full(raw.shape, 128, dtype=np.uint8)
    segments = np.array(_read_json(paths.segments, "segIndices"), dtype=np.int64)
    if segments.shape != (len(raw),):
        raise SdvlmError(
            f"{paths.segments}: {len(segments)} segment ids for the {len(raw)} vertices of {paths.mesh.name}; "
            "segments and mesh must be of the same resolution"
        )
    instances = np.zeros(len(raw), dtype=np.int32)
    labels = {}
    for group in _read_json(paths.aggregation, "segGroups"):
        instance = int(group["objectId"]) + 1
        labels[instance] = str(group["label"])
        instances[np.isin(segments, np.array(group["segments"], dtype=np.int64))] = instance
    return SceneMesh(aligned.astype(np.float32), faces, colors, instances), labels


def _camera(paths: ScannetPaths, which: str, info: dict[str, str], picture: Path) -> Camera:
    """Camera of the stored pictures: the calibration, scaled if the pictures were exported at another size."""
    K = parse_matrix(paths.intrinsic(which))
    with Image.open(picture) as opened:
        width, height = opened.size
    full = (int(info.get(f"{which}Width", width)), int(info.get(f"{which}Height", height)))
    camera = Camera.from_opencv(*full, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    sx, sy = width / full[0], height / full[1]
    return Camera(width, height, camera.fx * sx, camera.fy * sy, camera.cx * sx, camera.cy * sy)


def _check_registered(paths: ScannetPaths) -> None:
    """Colour and depth must look from the same place: exported depth is registered to colour (identity extrinsics)."""
    for which in ("color", "depth"):
        path = paths.extrinsic(which)
        if path.is_file() and not np.allclose(parse_matrix(path), np.eye(4), atol=1e-6):
            raise SdvlmError(
                f"{path}: is not the identity; register depth to colour first, only registered scans are read"
            )


def _read_frames(
    paths: ScannetPaths, names: list[str], info: dict[str, str], T_aligned_raw: NDArray[np.float64]
) -> tuple[SceneFrame, ...]:
    _check_registered(paths)
    camera = _camera(paths, "color", info, paths.color(names[0]))
    depth_camera = _camera(paths, "depth", info, paths.depth(names[0]))
    frames = []
    for name in names:
        pose = parse_matrix(paths.pose(name))
        if not np.isfinite(pose).all():
            logger.info("%s: frame %s has no valid pose; skipped", paths.scene_id, name)
            continue
        T_world_cam = T_aligned_raw @ pose
        loader = _loader(paths, name, camera, depth_camera, T_world_cam)
        frames.append(SceneFrame(name, camera, T_world_cam, loader, paths.color(name)))
    return tuple(frames)


def _loader(
    paths: ScannetPaths, name: str, camera: Camera, depth_camera: Camera, T_world_cam: NDArray[np.float64]
) -> Callable[[], RgbdFrame]:
    def load() -> RgbdFrame:
        image = _read_pixels(paths.color(name), "RGB").astype(np.uint8)
        stored = _read_pixels(paths.depth(name), None)
        if stored.ndim != 2 or stored.dtype not in (np.uint16, np.int32):
            raise SdvlmError(f"{paths.depth(name)}: expected a 16-bit depth picture in millimetres; got {stored.dtype}")
        depth_m = np.where(stored > 0, stored / 1000.0, np.nan).astype(np.float32)
        registered = register_depth(depth_m, depth_camera, camera)
        label = f"{paths.scene_id}/{name}"
        return RgbdFrame(image, DepthMap(registered, source="scannet"), camera, T_world_cam, label)

    return load


def _read_pixels(path: Path, mode: str | None) -> NDArray[Any]:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert(mode) if mode else opened)
    except OSError as error:
        raise SdvlmError(f"{path}: cannot be read as a picture ({error})") from error
