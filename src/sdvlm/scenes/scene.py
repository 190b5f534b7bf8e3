"""The one scene type: every reader returns it, everything downstream takes it.

World frame: metres, +z up, axis-aligned where the source has an alignment. Instance ids are positive; 0 means
structure or nothing (walls, floor, unlabelled).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Box3D, Camera, RgbdFrame

__all__ = ["Scene", "SceneFrame", "SceneMesh", "SceneObject", "SkippedFrame"]


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """Triangles with an instance id for each vertex.

    Args:
        vertices: (V, 3) float32, world frame, metres.
        faces: (F, 3) int32 vertex indices.
        colors: (V, 3) uint8 sRGB.
        instances: (V,) int32 instance id, 0 = none.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8]
    instances: NDArray[np.int32]

    @property
    def face_instances(self) -> NDArray[np.int32]:
        """(F,) instance id of each face: that of its first vertex."""
        return self.instances[self.faces[:, 0]]


@dataclass(frozen=True)
class SceneObject:
    """One annotated thing: instance id, category as the source names it, oriented box in the world frame."""

    id: int
    category: str
    box: Box3D


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """One posed picture of a scene; pixels are read when asked for.

    Args:
        id: unique within the scene ("120").
        camera: intrinsics of the picture that :meth:`load` returns.
        T_world_cam: (4, 4) camera-to-world in the scene's (aligned) world frame.
        image_path: where the colour picture lies, None for a frame that exists only in memory.
        loader: reads the aligned RGB-D frame.
        instances: reads (H, W) int32 instance ids of the picture's size, 0 = none; None: the source has no masks.
        objects: boxes (world frame) where the source annotates single frames; None: those of the scene.
        picture: reads the encoded picture (JPEG or PNG bytes) that decodes to exactly the image of :meth:`load`; None
            if there is none, as when the picture was undistorted or rendered.
    """

    id: str
    camera: Camera
    T_world_cam: NDArray[np.float64]
    loader: Callable[[], RgbdFrame]
    image_path: Path | None = None
    instances: Callable[[], NDArray[np.int32]] | None = None
    objects: tuple[SceneObject, ...] | None = None
    picture: Callable[[], bytes] | None = None

    def load(self) -> RgbdFrame:
        """Image, depth (same size as the image) and camera of this frame."""
        return self.loader()


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that a scene's files mention and the scene leaves out.

    Args:
        frame_id: as the frame would have been called.
        reason: one line.
        expected: part of the format (ScanNet's poses of -inf); False: broken input (a NaN pose, a picture cut short).
    """

    frame_id: str
    reason: str
    expected: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """Objects, frames and, where there is one, the mesh they were annotated on.

    Args:
        id: unique within its source.
        objects: what is annotated, boxes in the world frame.
        frames: posed pictures.
        mesh: the annotated surface, None where the source has none.
        source: name of the layout it was read from.
        skipped: frames left out, with reasons.
        box_source: "annotated" boxes and meshes, or boxes "fitted" to the visible points of masks.
        exhaustive: everything one could ask about is annotated, so what is not annotated is not there.
        split: the official split the source puts the scene in, None if it states none.
    """

    id: str
    objects: tuple[SceneObject, ...]
    frames: tuple[SceneFrame, ...]
    mesh: SceneMesh | None = None
    source: str = "unknown"
    skipped: tuple[SkippedFrame, ...] = ()
    box_source: Literal["annotated", "fitted"] = "annotated"
    exhaustive: bool = True
    split: str | None = None

    def object(self, instance_id: int) -> SceneObject:
        """The object with that instance id.

        Raises:
            KeyError: no such object.
        """
        for candidate in self.objects:
            if candidate.id == instance_id:
                return candidate
        raise KeyError(f"scene {self.id} has no object {instance_id}")
