"""What one built frame is: picture, depth, camera, the objects in it and the questions about it.

It is all that travels from a worker to the writer, and all that a built row says (:mod:`sdvlm.data.columns` goes there
and back). Plain values only: it crosses process and machine borders as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.encode import picture_header
from sdvlm.data.observe import ObservedObject
from sdvlm.data.schema import QuestionSample
from sdvlm.types import Box3D, Camera, SdvlmError

__all__ = ["FrameRecord", "Matrix3", "ObjectRecord", "Vector3"]

Vector3 = tuple[float, float, float]
Matrix3 = tuple[Vector3, Vector3, Vector3]


@dataclass(frozen=True)
class ObjectRecord:
    """One object that the picture shows, in the camera's frame.

    Args:
        id: instance id, positive, unique in the record.
        category: as the source names it.
        name: the name that means this object alone in the picture; None where it has none or was dropped.
        center_cam: centre of its box, metres: x right, y down, z forward.
        size_lwh: full extents in metres along the columns of ``rotation_cam``; the third is the vertical one.
        rotation_cam: rows of the (3, 3) rotation whose columns are the box's axes in the camera's frame.
        bounds_px: x0, y0, x1, y1 of its seen pixels, continuous.
        pixel_count: its seen pixels.
        visibility: seen over would-be-seen pixels, 0..1.
        truncation: share of the box outside the picture, 0..1.
        centroid_px: mean x, y of the seen pixels' centres; None where nobody said.
        dropped: why the filters dropped it (:mod:`sdvlm.data.select`); None if they kept it.
    """

    id: int
    category: str
    name: str | None
    center_cam: Vector3
    size_lwh: Vector3
    rotation_cam: Matrix3
    bounds_px: tuple[float, float, float, float]
    pixel_count: int
    visibility: float
    truncation: float
    centroid_px: tuple[float, float] | None = None
    dropped: str | None = None

    @classmethod
    def of(cls, seen: ObservedObject, name: str | None = None, dropped: str | None = None) -> ObjectRecord:
        """The record of an object as a frame sees it."""
        box = seen.box_cam
        return cls(
            id=seen.id,
            category=seen.category,
            name=name,
            center_cam=_vector(box.center),
            size_lwh=_vector(box.size),
            rotation_cam=(_vector(box.rotation[0]), _vector(box.rotation[1]), _vector(box.rotation[2])),
            bounds_px=seen.bounds_px,
            pixel_count=seen.pixel_count,
            visibility=seen.visibility,
            truncation=seen.truncation,
            centroid_px=seen.centroid_px,
            dropped=dropped,
        )

    @property
    def box_cam(self) -> Box3D:
        """Its box in the camera's frame."""
        return Box3D(np.array(self.center_cam), np.array(self.size_lwh), np.array(self.rotation_cam))


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """One picture of one scene with everything built from it.

    Args:
        scene_id: scene, unique in the data set; splits are made by it.
        frame_id: frame, unique in the scene.
        image_id: picture, unique in the data set.
        picture: the picture, encoded: JPEG or PNG, RGB, upright (:func:`sdvlm.data.encode.plain_picture` makes it so).
        size: width, height in pixels.
        depth_png: 16-bit PNG of ``size``, millimetres along the optical axis, 0 unknown; None where there is none.
        camera: intrinsics, pixel centres at +0.5.
        T_world_cam: (4, 4) camera-to-world; None where unknown.
        objects: every object seen, kept or dropped, by instance id.
        samples: questions, in the order asked.
        source: where the scene comes from (the reader's name).
        box_source: "annotated", or "fitted" to the visible points of masks.
        depth_source: who made the depth: a sensor's name, "rendered", an estimator.

    Raises:
        SdvlmError: sizes disagree, the picture is not of that kind, two objects share an id, or a question speaks of
            an object that the record does not hold.
    """

    scene_id: str
    frame_id: str
    image_id: str
    picture: bytes = field(repr=False)
    size: tuple[int, int]
    depth_png: bytes | None = field(repr=False)
    camera: Camera
    T_world_cam: NDArray[np.float64] | None
    objects: tuple[ObjectRecord, ...]
    samples: tuple[QuestionSample, ...]
    source: str = "unknown"
    box_source: str = "annotated"
    depth_source: str = "unknown"

    def __post_init__(self) -> None:
        where = f"scene {self.scene_id}, frame {self.frame_id}"
        try:
            header = picture_header(self.picture)
        except SdvlmError as error:
            raise SdvlmError(f"{where}: {error}") from error
        if not header.plain:
            raise SdvlmError(
                f"{where}: rows hold upright RGB pictures; got {header.mode}; pass it through plain_picture"
            )
        for what, got in (("picture", header.size), ("camera", self.camera.size)):
            if got != tuple(self.size):
                (w, h), (want_w, want_h) = got, self.size
                raise SdvlmError(f"{where}: the {what} is {w}x{h} but the record is for {want_w}x{want_h}")
        if self.T_world_cam is not None and np.shape(self.T_world_cam) != (4, 4):
            raise SdvlmError(f"{where}: a pose is (4, 4), camera to world; got {np.shape(self.T_world_cam)}")
        ids = {thing.id for thing in self.objects}
        if len(ids) != len(self.objects):
            raise SdvlmError(f"{where}: two objects share an instance id; renumber the scene's objects")
        stray = sorted({spoken for sample in self.samples for spoken in sample.objects} - ids)
        if stray:
            raise SdvlmError(
                f"{where}: questions speak of objects {stray[:5]}, which the record does not hold; add them"
            )

    def object(self, instance_id: int) -> ObjectRecord:
        """The object with that instance id.

        Raises:
            KeyError: the record does not hold it.
        """
        for thing in self.objects:
            if thing.id == instance_id:
                return thing
        raise KeyError(f"frame {self.image_id} has no object {instance_id}")


def _vector(values: NDArray[np.float64]) -> Vector3:
    x, y, z = (float(value) for value in values)
    return x, y, z
