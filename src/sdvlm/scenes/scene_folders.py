"""What readers of releases share: a folder a scene, and options that are one of a few words."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["check_options", "folder_of", "scene_folders"]


def check_options(reader: Any, choices: Mapping[str, Collection[str]]) -> None:
    """Refuse a reader's option that is none of its choices, and a ``frame_step`` below 1.

    Raises:
        SdvlmError: names the option.
    """
    for field, known in choices.items():
        if getattr(reader, field) not in known:
            raise SdvlmError(f"{field} must be one of {', '.join(known)}; got {getattr(reader, field)!r}")
    if reader.frame_step < 1:
        raise SdvlmError(f"frame_step must be 1 or more; got {reader.frame_step}")


def scene_folders(root: Path, inner: str, is_scene: Callable[[Path], bool], wanted: str) -> dict[str, Path]:
    """Scene id -> folder.

    Args:
        root: the release, the folder of the scenes, or one scene's folder.
        inner: name of the folder that a release keeps its scenes in.
        is_scene: whether a folder looks like a scene, whole or not.
        wanted: what was looked for, for the message ("ScanNet scene; looked for ...").

    Raises:
        SdvlmError: there is none, or the folder cannot be listed.
    """
    root = Path(root).resolve()
    if is_scene(root):
        return {root.name: root}
    holder = root / inner if (root / inner).is_dir() else root
    try:
        with os.scandir(holder) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir() and entry.name[:1] != "."]
    except OSError as error:
        raise SdvlmError(f"{holder}: cannot be listed ({error.strerror})") from error
    scenes = {folder.name: folder for folder in folders if is_scene(folder)}
    if not scenes:
        raise SdvlmError(f"{holder} holds no {wanted}")
    return scenes


def folder_of(folders: Mapping[str, Path], scene_id: str, root: Path) -> Path:
    """The folder of a scene.

    Raises:
        SdvlmError: there is no such scene.
    """
    if scene_id not in folders:
        raise SdvlmError(f"{root} has no scene '{scene_id}'; it has {', '.join(sorted(folders)[:5])} ...")
    return folders[scene_id]
