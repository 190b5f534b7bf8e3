"""The fields of ``scene.json`` (docs/readers.md): checked one by one, each error names file and field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.camera_file import check_camera
from sdvlm.depth.raw import one_line
from sdvlm.types import Box3D, Camera, SdvlmError

__all__ = ["Fields", "read_fields"]

_MAX_BYTES = 256 * 2**20
_LARGEST = 1e9
"""no coordinate, not even of a map, is larger"""
_ROTATION_TOLERANCE = 0.01
"""a rotation matrix may be this far from orthonormal (printed with three digits); it is then made exact"""


@dataclass(frozen=True, eq=False)
class Fields:
    """One JSON object and where it stands, for messages.

    Args:
        values: the object.
        where: file and path of the field, as in ``"kitchen/scene.json: frames.0001"``.
    """

    values: Mapping[str, Any]
    where: str

    def error(self, key: str, problem: str) -> SdvlmError:
        """An error about the field ``key``."""
        joint = "" if self.where.endswith(": ") else "."
        return SdvlmError(f"{self.where}{joint}{key} {problem}")

    def only(self, *known: str) -> None:
        """Refuse fields that are not ``known``: a misspelt name must not be passed over in silence."""
        for key in self.values:
            if key not in known:
                raise self.error(key, f"is no field here; known: {', '.join(known)}")

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(key) is not None

    def inner(self, key: str) -> Fields:
        """The JSON object under ``key``; empty if it is not there."""
        value = self.values.get(key)
        joint = "" if self.where.endswith(": ") else "."
        if value is not None and not isinstance(value, Mapping):
            raise self.error(key, f"must be a JSON object {{...}}; got {_shown(value)}")
        return Fields(value or {}, f"{self.where}{joint}{key}")

    def items(self, key: str) -> list[Fields]:
        """The JSON objects of the list under ``key``."""
        value = self.values.get(key) or []
        joint = "" if self.where.endswith(": ") else "."
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            raise self.error(key, f"must be a list of JSON objects [{{...}}, ...]; got {_shown(value)}")
        return [Fields(one, f"{self.where}{joint}{key}[{index}]") for index, one in enumerate(value)]

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"must be a text; got {_shown(value)}")
        return value.strip()

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """One of ``choices``."""
        value = self.values.get(key, default)
        if value not in choices:
            raise self.error(key, f"must be one of {', '.join(choices)}; got {_shown(value)}")
        return str(value)

    def flag(self, key: str) -> bool:
        """true or false; false if it is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false; got {_shown(value)}")
        return value

    def integer(self, key: str) -> int:
        """A whole number > 0 that fits 31 bits."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            raise self.error(key, f"must be a whole number > 0; got {_shown(value)}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        return float(self.array(key, ()))

    def array(self, key: str, *shapes: tuple[int, ...]) -> NDArray[np.float64]:
        """Finite numbers of one of ``shapes``."""
        wanted = " or ".join("x".join(map(str, shape)) or "one number" for shape in shapes)
        value = self.values.get(key)
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.empty(0)
        if value is None or isinstance(value, bool | str) or array.shape not in shapes:
            raise self.error(key, f"must be numbers ({wanted}); got {_shown(value)}")
        if not np.isfinite(array).all():
            raise self.error(key, "holds numbers that are not finite (NaN or infinite)")
        if np.abs(array).max(initial=0.0) > _LARGEST:
            raise self.error(key, f"holds numbers beyond {_LARGEST:g}; lengths are metres")
        return array

    def rotation(self, key: str, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, 3) proper rotation, made exact; ``key`` is named where it is none."""
        if not np.allclose(value @ value.T, np.eye(3), atol=_ROTATION_TOLERANCE) or np.linalg.det(value) < 0:
            raise self.error(key, "is no rotation: its columns must be unit axes at right angles, right-handed")
        left, _, right = np.linalg.svd(value)
        return np.asarray(left @ right)

    def pose(self, key: str) -> NDArray[np.float64]:
        """(4, 4) camera-to-world: a 4x4 or 3x4 matrix, or 7 numbers x y z qx qy qz qw (ROS, TUM)."""
        array = self.array(key, (4, 4), (3, 4), (7,))
        pose = np.eye(4)
        if array.shape == (7,):
            pose[:3, :3], pose[:3, 3] = self.quaternion(key, array[3:]), array[:3]
            return pose
        if array.shape == (4, 4) and not np.allclose(array[3], [0, 0, 0, 1], atol=1e-6):
            raise self.error(key, f"must end in the row 0 0 0 1; got {array[3].tolist()}; is the matrix transposed?")
        pose[:3, :3], pose[:3, 3] = self.rotation(key, array[:3, :3]), array[:3, 3]
        return pose

    def quaternion(self, key: str, xyzw: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, 3) rotation of a quaternion x y z w, which is normalised first."""
        length = float(np.linalg.norm(xyzw))
        if abs(length - 1) > 0.01:
            raise self.error(key, f"holds a quaternion (x y z w) of length {length:.3g}; wanted 1")
        x, y, z, w = xyzw / length
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )

    def camera(self) -> Camera:
        """This object as intrinsics: width, height and fx, fy, cx, cy or K, pixel centres at integers."""
        self.only("width", "height", "fx", "fy", "cx", "cy", "K")
        size = self.integer("width"), self.integer("height")
        if self.has("K"):
            K = self.array("K", (3, 3), (9,)).reshape(3, 3)
            fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
        else:
            fx, fy, cx, cy = (self.number(key) for key in ("fx", "fy", "cx", "cy"))
        try:
            camera = Camera.from_opencv(*size, fx, fy, cx, cy)
            check_camera(camera, size)
        except SdvlmError as error:
            raise SdvlmError(f"{self.where}: {error}") from error
        return camera

    def box(self) -> Box3D:
        """This object's center, size and rotation (3x3), quaternion (x y z w) or yaw (radians about +z)."""
        size = self.array("size", (3,))
        if not (size > 0).all() or size.max() > 1000:
            raise self.error("size", f"must be three lengths in metres, each > 0; got {size.tolist()}")
        turns = [key for key in ("rotation", "quaternion", "yaw") if self.has(key)]
        if len(turns) > 1:
            raise self.error(turns[1], f"and {turns[0]} are both given; give one")
        rotation = np.eye(3)
        if turns == ["rotation"]:
            rotation = self.rotation("rotation", self.array("rotation", (3, 3)))
        elif turns == ["quaternion"]:
            rotation = self.quaternion("quaternion", self.array("quaternion", (4,)))
        elif turns == ["yaw"]:
            yaw = self.number("yaw")
            if abs(yaw) > 2 * math.pi + 1e-3:
                raise self.error("yaw", f"is in radians; got {yaw:g}, which looks like degrees")
            rotation = Box3D.from_yaw(np.zeros(3), size, yaw).rotation
        return Box3D(self.array("center", (3,)), size, rotation)


def read_fields(path: Path, name: str) -> Fields:
    """The JSON object in a file.

    Args:
        path: the file.
        name: what messages call it.

    Raises:
        SdvlmError: missing, too large, or not one JSON object.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SdvlmError(f"{name}: is larger than {_MAX_BYTES >> 20} MiB; split the recording into scenes")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SdvlmError(f"{name}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SdvlmError(f"{name}: is not readable JSON: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise SdvlmError(f"{name}: must hold one JSON object {{...}}; got {_shown(values)}")
    return Fields(values, f"{name}: ")


def _shown(value: object) -> str:
    """A value for a message, cut short."""
    if value is None:
        return "nothing"
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
