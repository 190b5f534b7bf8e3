"""One scene of a user's RGB-D folder: ``scene.json``, its frames, and boxes fitted to masks that have none."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.io import CODECS
from sdvlm.scenes.fitted_box import fit_box
from sdvlm.scenes.gravity import LEVEL_UP_CAM, level_pose, turn_up, vertical_axis_last
from sdvlm.scenes.rgbd_folder_fields import Fields, read_fields
from sdvlm.scenes.rgbd_folder_files import DepthFile, FrameFiles, check_picture, find_frames, make_frame, read_mask
from sdvlm.scenes.scene import Scene, SceneFrame, SceneObject, SkippedFrame
from sdvlm.types import Camera, SdvlmError

__all__ = ["SCENE", "SceneFile"]

SCENE = "scene.json"
_SCENE_FIELDS = (
    *("version", "camera", "depth", "up", "up_cam", "assume_level"),
    *("objects", "labels", "exhaustive", "frames", "split"),
)
_FRAME_FIELDS = ("T_world_cam", "camera", "depth", "up_cam", "objects", "labels")
_OBJECT_FIELDS = ("id", "label", "center", "size", "rotation", "quaternion", "yaw", "coordinates")
logger = logging.getLogger(__name__)


class _Skip(Exception):
    """A frame that is left out; ``args[0]`` is the `SkippedFrame`."""


class SceneFile:
    """Turns one ``scene.json`` and its frames into a `Scene`.

    Args:
        folder: holds ``scene.json`` and ``frames/``.
        scene_id: what to call the scene.
        assume_level: cameras without pose and ``up_cam`` are held level.
        frame_step: every n-th frame.

    Raises:
        SdvlmError: a field is wrong; it is named.
    """

    def __init__(self, folder: Path, scene_id: str, *, assume_level: bool = False, frame_step: int = 1) -> None:
        self.folder, self.scene_id, self.step = folder, scene_id, frame_step
        self.fields = fields = read_fields(folder / SCENE, f"{scene_id}/{SCENE}")
        fields.only(*_SCENE_FIELDS)
        if fields.has("version") and fields.integer("version") != 1:
            raise fields.error("version", "is not 1, the only version there is")
        self.level = assume_level or fields.flag("assume_level")
        self.exhaustive = fields.flag("exhaustive")
        self.turn = turn_up(fields.array("up", (3,))) if fields.has("up") else np.eye(4)
        self.labels = _labels(fields)
        self.objects = self._objects(fields, None)
        self.fitted = False

    def read(self) -> Scene:
        """The scene; frames whose own files are broken are skipped.

        Raises:
            SdvlmError: a field is wrong, masks hold ids without label, or no frame is left.
        """
        frames: list[SceneFrame] = []
        skipped: list[SkippedFrame] = []
        for files in list(find_frames(self.folder / "frames").values())[:: self.step]:
            try:
                frames.append(self._frame(files))
            except _Skip as skip:
                skipped.append(skip.args[0])
        if not frames:
            raise SdvlmError(f"{self.folder}: no frame can be used; {skipped[0].frame_id}: {skipped[0].reason}")
        if not self.fields.has("objects") and all(frame.objects is None for frame in frames):
            raise self.fields.error("objects", "is missing, and no frame has objects or masks: nothing to ask about")
        return Scene(
            self.scene_id,
            self.objects,
            tuple(frames),
            source="rgbd",
            skipped=tuple(skipped),
            box_source="fitted" if self.fitted else "annotated",
            exhaustive=self.exhaustive,
            split=self.fields.text("split") if self.fields.has("split") else None,
        )

    def _frame(self, files: FrameFiles) -> SceneFrame:
        fields = self.fields.inner("frames").inner(files.name)
        fields.only(*_FRAME_FIELDS)
        camera = self._camera(fields)
        pose = self._pose(fields, files.name)
        if files.depth is None:
            raise SdvlmError(f"{files.picture}: has no depth beside it")
        depth = self._depth(fields, files.depth)
        objects = self._objects(fields, pose)
        try:
            check_picture(files.picture, camera)
            boxes, instances = self._masked(fields, files, depth, camera, pose, self.objects + objects)
        except _Unlabelled:
            raise
        except SdvlmError as error:
            raise _Skip(SkippedFrame(files.name, str(error), expected=False)) from error
        frame = make_frame(files.name, f"{self.scene_id}/{files.name}", files.picture, depth, camera, pose, instances)
        own = fields.has("objects") or instances is not None
        return replace(frame, objects=self.objects + objects + boxes) if own else frame

    def _camera(self, fields: Fields) -> Camera:
        where = fields if fields.has("camera") else self.fields
        if not where.has("camera"):
            raise self.fields.error("camera", "is missing; give width, height, fx, fy, cx, cy for the scene or frame")
        return where.inner("camera").camera()

    def _depth(self, fields: Fields, path: Path) -> DepthFile:
        notes = (fields if fields.has("depth") else self.fields).inner("depth")
        notes.only("scale_to_m", "codec", "camera")
        scale = notes.number("scale_to_m") if notes.has("scale_to_m") else None
        codec = notes.choice("codec", CODECS, "") if notes.has("codec") else None
        return DepthFile(path, scale, codec, notes.inner("camera").camera() if notes.has("camera") else None)

    def _pose(self, fields: Fields, name: str) -> NDArray[np.float64]:
        """Camera-to-world, +z up. A frame without a pose has a world of its own, level with gravity."""
        if "T_world_cam" in fields.values:
            given = fields.values["T_world_cam"]
            if given is None and self.objects:
                raise _Skip(SkippedFrame(name, "its pose is null", expected=True))
            if given is not None and _not_finite(given):
                raise _Skip(SkippedFrame(name, "its pose is not finite", expected=False))
            if given is not None:
                return np.asarray(self.turn @ fields.pose("T_world_cam"))
        if self.objects:
            raise fields.error(
                "T_world_cam", "is missing; the scene's objects stand in the world, so frames need poses"
            )
        for where in (fields, self.fields):
            if where.has("up_cam"):
                return level_pose(where.array("up_cam", (3,)))
        if self.level:
            return level_pose(LEVEL_UP_CAM)
        raise fields.error(
            "T_world_cam", "is missing, and so is up_cam: which way is up? Give one, or assume_level: true"
        )

    def _objects(self, fields: Fields, pose: NDArray[np.float64] | None) -> tuple[SceneObject, ...]:
        """Objects of the scene (``pose`` None) or of a frame, boxes in the z-up world."""
        found: list[SceneObject] = []
        taken = set() if pose is None else {one.id for one in self.objects}
        for number, one in enumerate(fields.items("objects")):
            one.only(*_OBJECT_FIELDS)
            choices = ("world",) if pose is None else ("camera", "world")
            in_camera = one.choice("coordinates", choices, choices[0]) == "camera"
            if in_camera and one.has("yaw"):
                raise one.error("yaw", "is about the world's up; in camera coordinates give rotation or quaternion")
            if not in_camera and pose is not None and not fields.has("T_world_cam"):
                raise one.error("coordinates", "is world, but the frame has no T_world_cam")
            instance = one.integer("id") if one.has("id") else number + 1
            if instance in taken:
                raise one.error("id", f"{instance} is taken by another object")
            taken.add(instance)
            box = one.box().transformed(pose if in_camera and pose is not None else self.turn)
            found.append(SceneObject(instance, one.text("label"), vertical_axis_last(box)))
        return tuple(found)

    def _masked(
        self,
        fields: Fields,
        files: FrameFiles,
        depth: DepthFile,
        camera: Camera,
        pose: NDArray[np.float64],
        known: tuple[SceneObject, ...],
    ) -> tuple[tuple[SceneObject, ...], partial[NDArray[np.int32]] | None]:
        """Boxes fitted to masks that have none, and what reads the masks; nothing and None without a mask."""
        if files.mask is None:
            return (), None
        masks = read_mask(files.mask, camera.size)
        labels = self.labels | _labels(fields)
        boxed = {one.id for one in known}
        ids = [one for one in np.unique(masks[masks > 0]).tolist() if one not in boxed]
        if unnamed := [one for one in ids if one not in labels]:
            raise _Unlabelled(
                f"{files.mask}: holds ids {', '.join(map(str, unnamed[:8]))}{', ...' if len(unnamed) > 8 else ''} that "
                f"neither labels nor objects of {SCENE} name; name them, or give them the label null to ignore them"
            )
        values = None
        boxes = []
        for one in ids:
            label = labels[one]
            if label is None:
                continue
            values = depth.read(camera).values if values is None else values
            box = fit_box(masks == one, values, camera, pose)
            if box is None:
                logger.info("%s/%s: too few measured points for %d (%s)", self.scene_id, files.name, one, label)
                continue
            boxes.append(SceneObject(one, label, box))
        self.fitted = self.fitted or bool(boxes)
        return tuple(boxes), partial(read_mask, files.mask, camera.size)


class _Unlabelled(SdvlmError):
    """Masks and labels disagree: a fault of the scene, not of one frame."""


def _labels(fields: Fields) -> dict[int, str | None]:
    """Label of each mask id; None: to be ignored."""
    table = fields.inner("labels")
    labels: dict[int, str | None] = {}
    for key in table.values:
        if not (key.isascii() and key.isdecimal() and int(key) > 0):
            raise table.error(key, 'is no mask id; labels map ids > 0 to names, as in {"1": "mug"}')
        labels[int(key)] = table.text(key) if table.has(key) else None
    return labels


def _not_finite(value: object) -> bool:
    try:
        return not np.isfinite(np.array(value, dtype=np.float64)).all()
    except (TypeError, ValueError, OverflowError):
        return False  # no numbers at all: the field's own check says so
