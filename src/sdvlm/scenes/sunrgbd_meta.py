"""The toolbox's own tables of SUN RGB-D: corrected boxes (``SUNRGBDMeta3DBB_v2.mat``) and the official split.

They are MATLAB files, so SciPy reads them; without SciPy the JSON beside each picture serves.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.raw import one_line
from sdvlm.extras import require
from sdvlm.scenes.scene import SceneObject
from sdvlm.scenes.sunrgbd_boxes import clean_label, toolbox_box
from sdvlm.scenes.sunrgbd_layout import UPRIGHT, exact_rotation
from sdvlm.types import SdvlmError

__all__ = ["ToolboxEntry", "find_table", "look_up", "read_boxes", "read_split"]

BOXES, SPLIT = "SUNRGBDMeta3DBB_v2.mat", "allsplit.mat"
_PLACES = ("", "SUNRGBDtoolbox", "SUNRGBDtoolbox/Metadata", "SUNRGBDtoolbox/traintestSUNRGBD", "Metadata")
T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ToolboxEntry:
    """What the toolbox knows of one picture: boxes in its z-up frame, and the way there from the camera."""

    objects: tuple[SceneObject, ...]
    R_world_cam: NDArray[np.float64]


def find_table(root: Path, name: str) -> Path | None:
    """A table at the root, beside it, or in the toolbox's folders there."""
    for base in (root, root.parent):
        for place in _PLACES:
            if (base / place / name).is_file():
                return base / place / name
    return None


def look_up(table: dict[str, T], relative: str) -> T | None:
    """The entry of a picture's folder: paths are compared behind ``SUNRGBD/``; None if there is none or several."""
    wanted = _key(relative)
    if wanted in table:
        return table[wanted]
    ending = [value for key, value in table.items() if key.endswith(f"/{wanted}")]
    return ending[0] if len(ending) == 1 else None


@lru_cache(maxsize=2)
def read_boxes(path: Path) -> dict[str, ToolboxEntry]:
    """Boxes by folder (behind ``SUNRGBD/``).

    Raises:
        SdvlmError: SciPy is not installed, or the file is damaged or another one.
    """
    table = {}
    for entry in np.atleast_1d(_load(path, "SUNRGBDMeta")):
        try:
            tilt = exact_rotation(np.asarray(entry.Rtilt, dtype=np.float64), f"{path}: Rtilt of {entry.sequenceName}")
            boxes = [one for one in np.atleast_1d(entry.groundtruth3DBB) if hasattr(one, "centroid")]
            table[_key(str(entry.sequenceName))] = ToolboxEntry(_objects(boxes, path), tilt @ UPRIGHT)
        except (AttributeError, TypeError, ValueError) as error:
            logger.warning("%s: an entry cannot be read: %s", path, one_line(error))
    if not table:
        raise SdvlmError(f"{path}: holds no picture that can be read; is it the toolbox's table?")
    return table


@lru_cache(maxsize=2)
def read_split(path: Path) -> dict[str, str]:
    """ "train" or "test" by folder (behind ``SUNRGBD/``).

    Raises:
        SdvlmError: SciPy is not installed, or the file is damaged or another one.
    """
    return {
        _key(str(folder)): split
        for split in ("train", "test")
        for folder in np.atleast_1d(_load(path, f"all{split}")).ravel()
    }


def _objects(boxes: list[Any], path: Path) -> tuple[SceneObject, ...]:
    objects = []
    for number, one in enumerate(boxes):
        try:
            label = clean_label(str(one.classname))
            objects.append(SceneObject(number + 1, label, toolbox_box(one.basis, one.coeffs, one.centroid)))
        except (AttributeError, TypeError, ValueError) as error:
            logger.info("%s: a box left out: %s", path, one_line(error))
    return tuple(objects)


def _key(folder: str) -> str:
    """A folder's path behind the last ``SUNRGBD/``, without slashes at its ends."""
    return folder.replace("\\", "/").strip("/ ").split("SUNRGBD/")[-1]


def _load(path: Path, variable: str) -> Any:
    io = require("scipy.io", "reading the SUN RGB-D toolbox's MATLAB tables")
    try:
        return io.loadmat(path, variable_names=[variable], squeeze_me=True, struct_as_record=False)[variable]
    except KeyError:
        raise SdvlmError(f"{path}: holds no {variable}; is it the toolbox's file?") from None
    except Exception as error:  # whatever SciPy meets in a damaged file
        raise SdvlmError(f"{path}: cannot be read as a MATLAB file: {one_line(error)}") from error
