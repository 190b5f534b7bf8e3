"""Which way is up: z-up worlds from a measured up direction, and boxes whose third axis is the vertical one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdvlm.types import Box3D, SdvlmError

__all__ = ["LEVEL_UP_CAM", "level_pose", "turn_up", "vertical_axis_last"]

LEVEL_UP_CAM = (0.0, -1.0, 0.0)
"""up in the camera frame of a camera held level"""


def _unit(direction: ArrayLike, name: str) -> NDArray[np.float64]:
    vector = np.asarray(direction, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or np.linalg.norm(vector) < 1e-6:
        raise SdvlmError(f"{name} must be a direction of three finite numbers, not all zero; got {vector.tolist()}")
    return np.asarray(vector / np.linalg.norm(vector))


def level_pose(up_cam: ArrayLike) -> NDArray[np.float64]:
    """(4, 4) T_world_cam of a camera that measures ``up_cam`` (3,) as up, into a world of its own.

    The world's origin is the camera, +z is up, +y where the camera looks (the top of its picture, where it looks
    straight up or down).

    Raises:
        SdvlmError: ``up_cam`` is not a direction.
    """
    up = _unit(up_cam, "up_cam")
    ahead = np.array([0.0, 0.0, 1.0])
    if np.linalg.norm(np.cross(up, ahead)) < 1e-3:
        ahead = np.array([0.0, -1.0, 0.0])
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = [right, np.cross(up, right), up]
    return pose


def turn_up(up: ArrayLike) -> NDArray[np.float64]:
    """(4, 4) rotation that turns a world in which ``up`` (3,) is up into one in which +z is, by the shortest way.

    Raises:
        SdvlmError: ``up`` is not a direction.
    """
    x, y, z = _unit(up, "up")
    turn = np.eye(4)
    if z < -1 + 1e-9:
        turn[1, 1] = turn[2, 2] = -1.0
        return turn
    turn[:3, :3] = [
        [1 - x * x / (1 + z), -x * y / (1 + z), -x],
        [-x * y / (1 + z), 1 - y * y / (1 + z), -y],
        [x, y, z],
    ]
    return turn


def vertical_axis_last(box: Box3D) -> Box3D:
    """The same solid with its axes renamed: the third is the one nearest to +z, pointing up."""
    axis = int(np.abs(box.rotation[2]).argmax())
    order = [(axis + 1) % 3, (axis + 2) % 3, axis]
    rotation = box.rotation[:, order]
    if rotation[2, 2] < 0:
        rotation = rotation * [1.0, -1.0, -1.0]
    return Box3D(box.center, box.size[order], rotation)
