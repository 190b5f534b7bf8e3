"""Write a `Scene` in ScanNet's own layout (`scannet_layout`), in an unaligned frame with its `axisAlignment`.

A scene appears under its name only when it is whole: it is written under a temporary name, then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdvlm.scenes.ply import write_ply
from sdvlm.scenes.scannet_labels import nyu40_id
from sdvlm.scenes.scannet_layout import ScannetPaths, camera_matrix, format_matrix, write_info
from sdvlm.scenes.scene import Scene, SceneMesh
from sdvlm.scenes.sens import SensHeader
from sdvlm.scenes.sens_writer import SensWriter, write_sens
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["ScanFrame", "scan_frames", "write_scannet_scene"]

_SEGMENT_VERTICES = 48
"""vertices in a segment; objects consist of several, as ScanNet's over-segmentation makes them"""


@dataclass(frozen=True, eq=False)
class ScanFrame:
    """One shot of a scanner: a colour picture and a depth picture from the same place, each with its own camera.

    Args:
        id: becomes the file name.
        image: (H, W, 3) uint8.
        camera: of the image.
        depth: metric, of the depth camera's size.
        depth_camera: its intrinsics.
        T_world_cam: (4, 4) in the scene's aligned world frame.
    """

    id: str
    image: NDArray[np.uint8]
    camera: Camera
    depth: DepthMap
    depth_camera: Camera
    T_world_cam: NDArray[np.float64]


def scan_frames(scene: Scene) -> Iterator[ScanFrame]:
    """The frames of a scene as shots whose depth camera is the colour camera.

    Raises:
        SdvlmError: a frame without metric depth.
    """
    for frame in scene.frames:
        shot = frame.load()
        if shot.depth is None or shot.depth.kind is not DepthKind.METRIC:
            kind = "no" if shot.depth is None else shot.depth.kind.value
            raise SdvlmError(f"{shot.name}: ScanNet's layout holds metric depth; this frame has {kind} depth")
        yield ScanFrame(frame.id, shot.image, frame.camera, shot.depth, frame.camera, frame.T_world_cam)


def write_scannet_scene(
    scene: Scene,
    root: Path,
    frames: Iterable[ScanFrame] | None = None,
    *,
    T_aligned_raw: NDArray[np.float64] | None = None,
    scene_type: str = "Misc.",
    notes: dict[str, object] | None = None,
    sens: bool = False,
) -> Path:
    """Write one scene under ``root/<scene id>``.

    Args:
        scene: with a mesh; instance ids must be 1..N, as ScanNet counts them.
        root: the data set's folder, made if needed.
        frames: shots; default: the scene's own frames. All must share one colour and one depth camera.
        T_aligned_raw: (4, 4) rigid `axisAlignment`; mesh and poses are stored in the raw frame. Default: identity.
        scene_type: ScanNet's `sceneType`.
        notes: written beside as ``sdvlm.json``.
        sens: write frames into ``<id>.sens`` (JPEG colour, zlib depth, float32 poses; frames are known by their
            position) instead of folders of extracted frames.

    Returns:
        The scene's folder.

    Raises:
        SdvlmError: no mesh, other instance ids, differing cameras, or the folder exists.
    """
    folder = root / scene.id
    if folder.exists():
        raise SdvlmError(f"{folder} exists; remove it or choose another output folder")
    if scene.mesh is None:
        raise SdvlmError(f"scene {scene.id} has no mesh; ScanNet's layout needs one")
    ids = sorted(item.id for item in scene.objects)
    if ids != list(range(1, len(ids) + 1)):
        raise SdvlmError(f"scene {scene.id}: instance ids must be 1..{len(ids)} for ScanNet's layout; got {ids[:8]}")
    T = np.eye(4) if T_aligned_raw is None else np.asarray(T_aligned_raw, dtype=np.float64)
    T_raw_aligned = np.asarray(np.linalg.inv(T), dtype=np.float64)
    root.mkdir(parents=True, exist_ok=True)
    draft = root / f".{scene.id}.{uuid.uuid4().hex[:8]}.partial"
    paths = ScannetPaths(draft / scene.id)
    try:
        paths.folder.mkdir(parents=True)
        _write_mesh(paths, scene, scene.mesh, T_raw_aligned)
        shots = scan_frames(scene) if frames is None else frames
        cameras, count = (_write_stream if sens else _write_frames)(paths, shots, T_raw_aligned)
        _write_info(paths, cameras, count, T, scene_type)
        if notes is not None:
            (paths.folder / "sdvlm.json").write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
        os.replace(paths.folder, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _segments(instances: NDArray[np.int32]) -> NDArray[np.int64]:
    """Segment id of each vertex: runs of one instance, cut into short pieces, named by their first vertex."""
    segments = np.empty(len(instances), dtype=np.int64)
    starts = np.flatnonzero(np.diff(instances, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(instances)], strict=True):
        run = np.arange(end - start)
        segments[start:end] = start + run // _SEGMENT_VERTICES * _SEGMENT_VERTICES
    return segments


def _write_mesh(paths: ScannetPaths, scene: Scene, mesh: SceneMesh, T_raw_aligned: NDArray[np.float64]) -> None:
    """Mesh, labelled mesh, segments and aggregation."""
    raw = mesh.vertices @ T_raw_aligned[:3, :3].T + T_raw_aligned[:3, 3]
    fields = [(name, "<f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue", "alpha")]
    vertices = np.empty(len(raw), dtype=fields)
    for axis, name in enumerate("xyz"):
        vertices[name] = raw[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = mesh.colors[:, channel]
    vertices["alpha"] = 255
    write_ply(paths.mesh, vertices, mesh.faces)
    labelled = np.empty(len(raw), dtype=[*fields, ("label", "<u2")])
    for name in vertices.dtype.names or ():
        labelled[name] = vertices[name]
    table = np.zeros(len(scene.objects) + 1, dtype=np.uint16)
    for item in scene.objects:
        table[item.id] = nyu40_id(item.category)
    labelled["label"] = table[mesh.instances]
    write_ply(paths.labels, labelled, mesh.faces)
    segments = _segments(mesh.instances)
    head = {"sceneId": f"scannet.{scene.id}"}
    paths.segments.write_text(json.dumps({**head, "params": {}, "segIndices": segments.tolist()}))
    groups = [
        {
            "id": item.id - 1,
            "objectId": item.id - 1,
            "segments": np.unique(segments[mesh.instances == item.id]).tolist(),
            "label": item.category,
        }
        for item in scene.objects
    ]
    segments_file = f"scannet.{paths.segments.name}"
    paths.aggregation.write_text(
        json.dumps({**head, "appId": "sdvlm", "segGroups": groups, "segmentsFile": segments_file})
    )


def _write_frames(
    paths: ScannetPaths, frames: Iterable[ScanFrame], T_raw_aligned: NDArray[np.float64]
) -> tuple[tuple[Camera, Camera] | None, int]:
    """Pictures, depth, poses and intrinsics. Returns the shared (colour, depth) cameras and the number of frames."""
    cameras, count = None, 0
    for name in ("color", "depth", "pose", "intrinsic"):
        (paths.folder / name).mkdir()
    for frame in frames:
        if cameras is None:
            cameras = (frame.camera, frame.depth_camera)
            for which, camera in zip(("color", "depth"), cameras, strict=True):
                paths.intrinsic(which).write_text(format_matrix(camera_matrix(camera)))
                paths.extrinsic(which).write_text(format_matrix(np.eye(4)))
        _refuse_another_camera(cameras, frame)
        Image.fromarray(frame.image).save(paths.color(frame.id), quality=95, subsampling=0)
        millimetres = np.nan_to_num(frame.depth.values.astype(np.float64) * 1000).round()
        millimetres[millimetres > 65535] = 0
        Image.fromarray(millimetres.astype(np.uint16)).save(paths.depth(frame.id))
        paths.pose(frame.id).write_text(format_matrix(T_raw_aligned @ frame.T_world_cam))
        count += 1
    return cameras, count


def _refuse_another_camera(cameras: tuple[Camera, Camera], frame: ScanFrame) -> None:
    if cameras != (frame.camera, frame.depth_camera):
        raise SdvlmError(f"frame {frame.id}: ScanNet's layout has one camera a scene, this frame has another")


def _write_stream(
    paths: ScannetPaths, frames: Iterable[ScanFrame], T_raw_aligned: NDArray[np.float64]
) -> tuple[tuple[Camera, Camera] | None, int]:
    """All frames into one ``.sens`` file. Returns what `_write_frames` does."""
    cameras: tuple[Camera, Camera] | None = None
    writer: SensWriter | None = None
    with ExitStack() as stack:
        for frame in frames:
            if cameras is None or writer is None:
                cameras = color, depth = frame.camera, frame.depth_camera
                matrices = camera_matrix(color), np.eye(4), camera_matrix(depth), np.eye(4)
                writer = stack.enter_context(write_sens(paths.sens, SensHeader(*matrices, color.size, depth.size)))
            _refuse_another_camera(cameras, frame)
            writer.add(frame.image, frame.depth.values, T_raw_aligned @ frame.T_world_cam)
    return cameras, writer.count if writer is not None else 0


def _write_info(
    paths: ScannetPaths, cameras: tuple[Camera, Camera] | None, count: int, T: NDArray[np.float64], scene_type: str
) -> None:
    """The scene's text file."""
    entries: dict[str, object] = {"axisAlignment": T, "colorToDepthExtrinsics": np.eye(4)}
    for which, camera in zip(("color", "depth"), cameras or (), strict=False):
        matrix = camera_matrix(camera)
        entries |= {f"{which}Width": camera.width, f"{which}Height": camera.height}
        entries |= {f"fx_{which}": matrix[0, 0], f"fy_{which}": matrix[1, 1]}
        entries |= {f"mx_{which}": matrix[0, 2], f"my_{which}": matrix[1, 2]}
    entries |= {"numColorFrames": count, "numDepthFrames": count, "sceneType": scene_type}
    write_info(paths.info, entries)
