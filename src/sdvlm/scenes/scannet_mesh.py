"""The annotated mesh of a ScanNet scene: vertices in the aligned frame, an instance id for each, labels of ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.ply import read_ply
from sdvlm.scenes.scannet_layout import ScannetPaths
from sdvlm.scenes.scene import SceneMesh
from sdvlm.types import SdvlmError

__all__ = ["annotation_groups", "mesh_geometry", "read_json_key", "read_scannet_mesh", "segment_ids"]


def read_json_key(path: Path, key: str) -> Any:
    """One member of a JSON object.

    Raises:
        SdvlmError: not there, not JSON, or without that member.
    """
    try:
        return json.loads(path.read_bytes())[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SdvlmError(f"{path}: expected JSON with '{key}' ({type(error).__name__}: {error})") from error


def mesh_geometry(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.uint8]]:
    """Vertices (V, 3), triangles (F, 3) and colours (V, 3), grey where the file has none.

    Raises:
        SdvlmError: not such a mesh, or vertices that are not finite.
    """
    table, faces = read_ply(path)
    vertices = np.stack([table[axis] for axis in "xyz"], axis=-1).astype(np.float64)
    if not np.isfinite(vertices).all():
        raise SdvlmError(f"{path}: has vertices that are not finite; the mesh is damaged")
    if {"red", "green", "blue"} <= set(table.dtype.names or ()):
        colors = np.stack([table[channel] for channel in ("red", "green", "blue")], axis=-1).astype(np.uint8)
    else:
        colors = np.full(vertices.shape, 128, dtype=np.uint8)
    return vertices, faces, colors


def segment_ids(path: Path, mesh: Path, count: int) -> NDArray[np.int64]:
    """(V,) segment of each of the mesh's ``count`` vertices.

    Raises:
        SdvlmError: not a list of one integer a vertex.
    """
    try:
        segments = np.array(read_json_key(path, "segIndices"), dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, SdvlmError):
            raise
        raise SdvlmError(f"{path}: segIndices must be a list of integers ({error})") from error
    if segments.shape != (count,):
        raise SdvlmError(
            f"{path}: {segments.size} segment ids for the {count} vertices of {mesh.name}; "
            "segments and mesh must be of the same resolution"
        )
    return segments


def annotation_groups(path: Path) -> list[tuple[int, str, NDArray[np.int64], dict[str, Any]]]:
    """Instance id (objectId + 1), label, segments and the raw group of each annotated object, in the file's order.

    Raises:
        SdvlmError: a group without these, or two with one objectId.
    """
    groups, listed = [], read_json_key(path, "segGroups")
    if not isinstance(listed, list):
        raise SdvlmError(f"{path}: segGroups must be a list of objects; got {type(listed).__name__}")
    for group in listed:
        try:
            segments = np.array(group["segments"], dtype=np.int64).ravel()
            groups.append((int(group["objectId"]) + 1, str(group["label"]).strip(), segments, group))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SdvlmError(
                f"{path}: each of segGroups needs objectId, label and segments ({type(error).__name__}: {error})"
            ) from error
    ids = [one[0] for one in groups]
    if len(set(ids)) != len(ids) or min(ids, default=1) < 1:
        raise SdvlmError(f"{path}: objectIds must be different and not negative; got {sorted(ids)[:8]} (plus one)")
    return groups


def read_scannet_mesh(paths: ScannetPaths, T_aligned_raw: NDArray[np.float64]) -> tuple[SceneMesh, dict[int, str]]:
    """The mesh in the aligned frame with instance ids, and the raw label of each instance.

    Raises:
        SdvlmError: a file is damaged, or mesh and segments do not belong together.
    """
    raw, faces, colors = mesh_geometry(paths.mesh)
    aligned = raw @ T_aligned_raw[:3, :3].T + T_aligned_raw[:3, 3]
    segments = segment_ids(paths.segments, paths.mesh, len(raw))
    instances = np.zeros(len(raw), dtype=np.int32)
    labels = {}
    for instance, label, of_object, _ in annotation_groups(paths.aggregation):
        labels[instance] = label
        instances[np.isin(segments, of_object)] = instance
    return SceneMesh(aligned.astype(np.float32), faces, colors, instances), labels
