"""Read scenes in ScanNet++'s layout (`scannetpp_layout`): the mesh's frame is aligned and in metres already.

Photographs (``device="dslr"``) have no sensor depth: theirs is rendered from the mesh. Phone frames
(``device="iphone"``) have LiDAR depth, taken through the colour camera's lens, brought to the colour pixels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.colmap import PosedImage
from sdvlm.scenes.iphone_depth import DepthFrames, open_iphone_depth
from sdvlm.scenes.lens import Lens, pinhole_of, straighten, straighten_nearest
from sdvlm.scenes.pictures import decode_color, decode_depth_png, picture_size, read_bytes
from sdvlm.scenes.reader import MissingFile
from sdvlm.scenes.register import register_depth
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.scannet_cameras import pose_fault
from sdvlm.scenes.scannetpp_layout import Device, ScannetppPaths
from sdvlm.scenes.scannetpp_objects import BoxKind, read_scannetpp_objects
from sdvlm.scenes.scannetpp_poses import posed_images
from sdvlm.scenes.scene import Scene, SceneFrame, SceneMesh, SkippedFrame
from sdvlm.scenes.scene_folders import check_options, folder_of, scene_folders
from sdvlm.types import Camera, DepthMap, RgbdFrame, SdvlmError

__all__ = ["ScannetppReader"]

_DEVICES = ("dslr", "iphone")
_BOXES = ("oriented", "axis_aligned", "annotated")
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ScannetppReader:
    """Scenes of a folder in ScanNet++'s layout; see docs/readers.md."""

    root: Path
    """the release (with ``data/``), the folder of the scenes, or one scene's folder"""
    device: Device = "dslr"
    """which pictures: the photographs or the phone's"""
    box: BoxKind = "oriented"
    """smallest upright box of an object's vertices, their minimum and maximum, or the annotation's own where it is
    upright and holds them"""
    frame_step: int = 1
    """every n-th posed picture"""
    name: ClassVar[str] = "scannetpp"

    def __post_init__(self) -> None:
        check_options(self, {"device": _DEVICES, "box": _BOXES})

    def scene_ids(self) -> list[str]:
        """Every scene, sorted.

        Raises:
            SdvlmError: the folder holds none.
        """
        return sorted(self._folders())

    def missing(self) -> list[MissingFile]:
        """What the scenes lack for this device, by looking for files only."""
        root = Path(self.root).resolve()
        return [
            MissingFile(scene_id, os.path.relpath(path, root), purpose)
            for scene_id, folder in sorted(self._folders().items())
            for path, purpose in ScannetppPaths(folder).lacking(self.device)
        ]

    def read(self, scene_id: str) -> Scene:
        """One scene.

        Raises:
            SdvlmError: no such scene, files are missing (all are named), or one cannot be read.
        """
        folder = folder_of(self._folders(), scene_id, self.root)
        paths = ScannetppPaths(folder)
        lacking = paths.lacking(self.device)
        if lacking:
            told = ", ".join(f"{path.relative_to(paths.folder)} ({purpose})" for path, purpose in lacking)
            raise SdvlmError(f"{paths.folder} is not a whole ScanNet++ scene: missing {told}")
        mesh, objects = read_scannetpp_objects(paths, self.box)
        frames, skipped = _frames(paths, self.device, self.frame_step, mesh)
        if not frames:
            why = f"; the first: {skipped[0].reason}" if skipped else ""
            raise SdvlmError(f"{paths.folder}: the scene is empty, none of {len(skipped)} frames is usable{why}")
        return Scene(scene_id, objects, frames, mesh, "scannetpp", skipped, split=self._splits().get(scene_id))

    def _folders(self) -> dict[str, Path]:
        """Scene id -> folder."""
        wanted = "ScanNet++ scene; looked for <id>/scans/mesh_aligned_0.05.ply and <id>/scans/segments_anno.json"
        return scene_folders(self.root, "data", _is_scene, wanted)

    def _splits(self) -> dict[str, str]:
        """Scene id -> split, from the release's lists where they are there."""
        root = Path(self.root).resolve()
        splits: dict[str, str] = {}
        for folder in (root, root.parent, root.parent.parent):
            for path in sorted((folder / "splits").glob("*.txt")):
                split = next((one for one in _SPLITS if one in path.stem.split("_")), None)
                if split is not None and ("sem" in path.stem.split("_") or path.stem == split):
                    splits |= dict.fromkeys(path.read_text(errors="replace").split(), split)
            if splits:
                break
        return splits


def _is_scene(folder: Path) -> bool:
    return ScannetppPaths(folder).is_scene()


class _MeshDepth:
    """Depth of the mesh; what casting needs is made on the first call and kept for the scene's frames."""

    def __init__(self, mesh: SceneMesh) -> None:
        self._mesh = mesh

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self._mesh)

    def depth_m(self, camera: Camera, T_world_cam: NDArray[np.float64]) -> NDArray[np.float32]:
        return self._renderer.trace(camera, T_world_cam)[0]


def _frames(
    paths: ScannetppPaths, device: Device, step: int, mesh: SceneMesh
) -> tuple[tuple[SceneFrame, ...], tuple[SkippedFrame, ...]]:
    undistorted = device == "dslr" and paths.has_undistorted()
    images, bad = posed_images(paths, device, undistorted)
    holder = paths.pictures(device, undistorted)
    phone_depth = _PhoneDepth(paths) if device == "iphone" else None
    mesh_depth = _MeshDepth(mesh)
    frames, skipped, lens_of = [], [], _StoredLens()
    for image in images[::step]:
        name = Path(image.name).stem
        path = _picture_path(holder, image.name)
        fault = pose_fault(image.T_world_cam)
        if fault is not None:
            skipped.append(SkippedFrame(name, fault[0], expected=False))
        elif image.name in bad:
            skipped.append(SkippedFrame(name, "the release calls it bad", expected=True))
        elif not path.is_file():
            reason = f"no picture {path.relative_to(paths.folder)}"
            skipped.append(
                SkippedFrame(name, reason, expected=device == "iphone")
            )  # not every video frame is extracted
        elif phone_depth is not None and not phone_depth.has(name):
            skipped.append(SkippedFrame(name, "no depth picture of it", expected=True))
        else:
            lens = lens_of(image, path)
            camera = pinhole_of(lens)
            load = partial(_load, f"{paths.scene_id}/{name}", path, lens, image.T_world_cam, phone_depth, mesh_depth)
            picture: Callable[[], bytes] | None = partial(read_bytes, path) if lens.is_straight else None
            frames.append(SceneFrame(name, camera, image.T_world_cam, load, path, picture=picture))
    return tuple(frames), tuple(skipped)


def _picture_path(holder: Path, name: str) -> Path:
    """Where a named picture lies; names are COLMAP's and may have folders of their own."""
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        raise SdvlmError(f"the poses name a picture '{name}', which is outside {holder}")
    whole = holder / name
    return whole if whole.is_file() else holder / parts[-1]


class _StoredLens:
    """The lens at the size pictures are stored in; told from the first picture of each lens."""

    def __init__(self) -> None:
        self._known: dict[Lens, Lens] = {}

    def __call__(self, image: PosedImage, path: Path) -> Lens:
        if image.lens not in self._known:
            try:
                self._known[image.lens] = image.lens.scaled(picture_size(path))
            except SdvlmError as error:
                raise SdvlmError(f"{path}: {error}") from error
        return self._known[image.lens]


class _PhoneDepth:
    """Depth of the phone's frames, from pictures where they were extracted, else from ``depth.bin``."""

    def __init__(self, paths: ScannetppPaths) -> None:
        self._paths = paths
        folder = paths.depth_pictures
        self._pictures = {one.stem: one for one in folder.glob("*.png")} if folder.is_dir() else {}
        self._bin: DepthFrames | None = None
        if not self._pictures:
            self._bin = open_iphone_depth(paths.depth_bin)

    def has(self, name: str) -> bool:
        """Whether there may be depth of a frame."""
        return name in self._pictures if self._bin is None else re.search(r"\d+$", name) is not None

    def depth_m(self, name: str) -> NDArray[np.float32]:
        if self._bin is None:
            path = self._pictures[name]
            return decode_depth_png(read_bytes(path), str(path))
        number = re.search(r"\d+$", name)
        if number is None:
            raise SdvlmError(f"{self._paths.depth_bin}: which frame is '{name}'? its name has no number")
        return self._bin.depth_m(int(number[0]))


def _load(
    name: str,
    path: Path,
    lens: Lens,
    T_world_cam: NDArray[np.float64],
    phone_depth: _PhoneDepth | None,
    mesh_depth: _MeshDepth,
) -> RgbdFrame:
    image = straighten(decode_color(read_bytes(path), str(path), lens.camera.size), lens)
    camera = pinhole_of(lens)
    if phone_depth is None:
        depth = DepthMap(mesh_depth.depth_m(camera, T_world_cam), source="rendered")
    else:
        measured = phone_depth.depth_m(path.stem)
        depth = DepthMap(_registered(measured, lens, str(path)), source="iphone lidar")
    return RgbdFrame(image, depth, camera, T_world_cam, name)


def _registered(depth_m: NDArray[np.float32], lens: Lens, name: str) -> NDArray[np.float32]:
    """Phone depth at the pixels of the straightened picture; both come through one lens."""
    height, width = depth_m.shape
    try:
        small = lens.scaled((width, height))
    except SdvlmError as error:
        raise SdvlmError(f"{name}: depth does not fit: {error}") from error
    if lens.is_straight:
        return register_depth(depth_m, small.camera, lens.camera)
    return straighten_nearest(depth_m, lens)
