"""What a reader of RGB-D scenes is, the ones we ship, and which one a folder is for.

A reader is a small frozen dataclass ``(root, options)``: it pickles and opens files only when asked.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from sdvlm.scenes.scene import Scene
from sdvlm.types import SdvlmError

__all__ = ["READERS", "MissingFile", "SceneReader", "open_reader"]


@dataclass(frozen=True)
class MissingFile:
    """A file a scene lacks: ``path`` relative to the source's root, ``purpose`` what it is needed for."""

    scene_id: str
    path: str
    purpose: str


class SceneReader(Protocol):
    """Reads the scenes of one layout."""

    @property
    def name(self) -> str:
        """Key in `READERS`."""

    @property
    def root(self) -> Path:
        """The folder the scenes lie under."""

    def scene_ids(self) -> list[str]:
        """Every scene, sorted.

        Raises:
            SdvlmError: the root is not of this layout; says what was looked for.
        """

    def missing(self) -> list[MissingFile]:
        """What the scenes lack, by looking for files only; a scene named here cannot be read."""

    def read(self, scene_id: str) -> Scene:
        """One scene; its pictures are read when a frame is loaded.

        Raises:
            SdvlmError: it cannot be read, with the reason in one line.
        """


def _lazily(module: str, reader: str) -> Callable[..., SceneReader]:
    """A constructor that imports its module on the first call."""

    def make(root: Path, **options: Any) -> SceneReader:
        made = getattr(importlib.import_module(f"sdvlm.scenes.{module}"), reader)
        known = [field.name for field in fields(made) if field.init and field.name not in ("root", "name")]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise SdvlmError(
                f"the {reader} has no option {', '.join(unknown)}; it takes {', '.join(known) or 'no options'}"
            )
        reads: SceneReader = made(Path(root), **options)
        return reads

    return make


READERS: dict[str, Callable[..., SceneReader]] = {
    "scannet": _lazily("scannet", "ScannetReader"),
    "scannetpp": _lazily("scannetpp", "ScannetppReader"),
    "sunrgbd": _lazily("sunrgbd", "SunrgbdReader"),
    "rgbd": _lazily("rgbd_folder", "RgbdReader"),
}
"""Layout -> reader: call it with the root and the reader's options."""


def open_reader(root: Path | str, name: str | None = None, **options: Any) -> SceneReader:
    """The reader of a folder.

    Args:
        root: where the scenes lie.
        name: one of `READERS`; None: the one layout the folder's content fits.
        options: of the reader, its dataclass fields.

    Raises:
        SdvlmError: no such folder, reader or option; or, without a name, no layout or several fit.
    """
    root = Path(root)
    if not root.is_dir():
        raise SdvlmError(f"{root} is not a folder; pass the folder that holds the scenes")
    if name is not None:
        if name not in READERS:
            raise SdvlmError(f"no reader '{name}'; choose one of {', '.join(READERS)}")
        return READERS[name](root, **options)
    fitting, told = [], []
    for candidate, make in READERS.items():
        try:
            make(root).scene_ids()
            fitting.append(candidate)
        except SdvlmError as error:
            told.append(f"{candidate}: {error}")
    if len(fitting) == 1:
        return READERS[fitting[0]](root, **options)
    if fitting:
        raise SdvlmError(f"{root} fits several layouts ({', '.join(fitting)}); name the reader")
    raise SdvlmError(f"{root} is of no layout we read. {'; '.join(told)}")
