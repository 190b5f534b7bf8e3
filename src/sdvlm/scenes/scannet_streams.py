"""The stored frames of a ScanNet scan, from extracted folders or from the ``.sens`` file: one shape for both."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.scenes.pictures import decode_color, decode_depth_png, picture_size, read_bytes
from sdvlm.scenes.scannet_cameras import check_registered, pose_fault, scan_camera
from sdvlm.scenes.scannet_layout import ScannetPaths, parse_matrix
from sdvlm.scenes.scene import SkippedFrame
from sdvlm.scenes.sens import ColorCompression, SensFile, open_sens
from sdvlm.types import Camera, SdvlmError

__all__ = ["StoredFrame", "Stream", "extracted_names", "open_stream"]


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One frame as stored; ``pose`` is (4, 4) camera-to-world in the unaligned frame, finite and rigid."""

    id: str
    pose: NDArray[np.float64]
    color: Callable[[], NDArray[np.uint8]]
    depth_m: Callable[[], NDArray[np.float32]]
    picture: Callable[[], bytes] | None
    path: Path | None


@dataclass(frozen=True, eq=False)
class Stream:
    """The frames of a scan with a usable pose, the ones left out, and the two cameras they share."""

    camera: Camera
    depth_camera: Camera
    frames: tuple[StoredFrame, ...]
    skipped: tuple[SkippedFrame, ...]


def extracted_names(paths: ScannetPaths) -> list[str]:
    """Names of the extracted colour pictures, in the order of their numbers; empty if there are none."""
    try:
        files = os.listdir(paths.folder / "color")
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = [file[:-4] for file in files if file.endswith(".jpg") and not file.startswith(".")]
    return sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def open_stream(paths: ScannetPaths, info: dict[str, str], step: int = 1) -> Stream:
    """The extracted frames where there are some, else those of the ``.sens`` file; every ``step``-th.

    Raises:
        SdvlmError: cameras that cannot be right, extrinsics, or files that cannot be read at all.
    """
    names = extracted_names(paths)
    return _extracted(paths, info, names, step) if names else _sens(paths, info, step)


def _extracted(paths: ScannetPaths, info: dict[str, str], names: list[str], step: int) -> Stream:
    for which in ("color", "depth"):
        if paths.extrinsic(which).is_file():
            check_registered(parse_matrix(paths.extrinsic(which)), str(paths.extrinsic(which)))
    sizes = {"color": picture_size(paths.color(names[0])), "depth": picture_size(paths.depth(names[0]))}
    camera, depth_camera = (
        scan_camera(parse_matrix(paths.intrinsic(which)), which, info, size, str(paths.intrinsic(which)))
        for which, size in sizes.items()
    )
    frames, skipped = [], []
    for name in names[::step]:
        try:
            pose = parse_matrix(paths.pose(name))
        except SdvlmError as error:
            skipped.append(SkippedFrame(name, str(error), expected=False))
            continue
        fault = pose_fault(pose)
        if fault is not None:
            skipped.append(SkippedFrame(name, *fault))
            continue
        color, depth = paths.color(name), paths.depth(name)
        frames.append(
            StoredFrame(
                name,
                pose,
                partial(_color_file, color, sizes["color"]),
                partial(_depth_file, depth, sizes["depth"]),
                partial(read_bytes, color),
                color,
            )
        )
    return Stream(camera, depth_camera, tuple(frames), tuple(skipped))


def _color_file(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    return decode_color(read_bytes(path), str(path), size)


def _depth_file(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    return decode_depth_png(read_bytes(path), str(path), size)


def _sens(paths: ScannetPaths, info: dict[str, str], step: int) -> Stream:
    sens: SensFile = open_sens(paths.sens)
    head = sens.header
    for which, extrinsic in (("color", head.extrinsic_color), ("depth", head.extrinsic_depth)):
        check_registered(extrinsic, f"{paths.sens}: the {which} extrinsic")
    camera, depth_camera = (
        scan_camera(K, which, info, size, f"{paths.sens} ({which})")
        for which, K, size in (
            ("color", head.intrinsic_color, head.color_size),
            ("depth", head.intrinsic_depth, head.depth_size),
        )
    )
    encoded = head.color_compression is not ColorCompression.RAW
    frames, skipped = [], []
    for index in range(0, sens.declared, step):
        if index >= len(sens):
            skipped.append(SkippedFrame(str(index), f"{paths.sens.name}: {sens.cut}", expected=False))
            continue
        fault = pose_fault(sens.poses[index])
        if fault is not None:
            skipped.append(SkippedFrame(str(index), *fault))
            continue
        picture = partial(sens.color_bytes, index) if encoded else None
        frames.append(
            StoredFrame(
                str(index), sens.poses[index], partial(sens.color, index), partial(sens.depth_m, index), picture, None
            )
        )
    return Stream(camera, depth_camera, tuple(frames), tuple(skipped))
