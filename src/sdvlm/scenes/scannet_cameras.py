"""The cameras and poses of a ScanNet scan, checked against what else the scene says of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Camera, SdvlmError

__all__ = ["check_registered", "parse_info_matrix", "pose_fault", "scan_camera"]

_SAME_FOCAL = 0.1
"""focal lengths of calibration and info file may differ by this fraction"""
_SAME_POINT = 0.05
"""principal points may differ by this fraction of the picture's width"""
_SAME_ASPECT = 0.02
"""an export may change the sides' ratio by this fraction (1296x968 to 640x480 does by 0.4 %)"""


def scan_camera(K: NDArray[np.float64], which: str, info: dict[str, str], size: tuple[int, int], where: str) -> Camera:
    """Camera of stored pictures: the calibration, scaled if they were exported at another size.

    Args:
        K: (4, 4) stored intrinsics, pixel centres at integers.
        which: "color" or "depth".
        info: the scene's text file; its sizes are those of the calibration.
        size: (width, height) of the stored pictures.
        where: the file the intrinsics come from, for messages.

    Raises:
        SdvlmError: the intrinsics cannot be those of this camera.
    """
    full = _info_number(info, f"{which}Width", size[0]), _info_number(info, f"{which}Height", size[1])
    if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise SdvlmError(f"{where}: not an intrinsic matrix (fx {K[0, 0]}, fy {K[1, 1]})")
    (width, height), (full_width, full_height) = size, full
    if abs(width * full_height / (height * full_width) - 1) > _SAME_ASPECT:
        raise SdvlmError(
            f"{where}: the {which} pictures are {width}x{height} but the scene's camera is {full_width:g}x"
            f"{full_height:g}; pictures and calibration are of different cameras"
        )
    for axis, side in enumerate(full):
        if not 0.25 <= K[axis, 2] / side <= 0.75:
            raise SdvlmError(
                f"{where}: the principal point ({K[0, 2]:.1f}, {K[1, 2]:.1f}) is far from the middle of "
                f"{full_width:g}x{full_height:g} pixels; it is the intrinsics file of another camera or size"
            )
    _check_against_info(K, which, info, full_width, where)
    sx, sy = width / full_width, height / full_height
    return Camera(width, height, K[0, 0] * sx, K[1, 1] * sy, (K[0, 2] + 0.5) * sx, (K[1, 2] + 0.5) * sy)


def _info_number(info: dict[str, str], key: str, default: float) -> float:
    try:
        value = float(info.get(key, default))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise SdvlmError(f"{key} of the scene's text file must be a positive number; got '{info[key]}'")
    return value


def _check_against_info(K: NDArray[np.float64], which: str, info: dict[str, str], width: float, where: str) -> None:
    wanted = ((f"fx_{which}", K[0, 0]), (f"fy_{which}", K[1, 1]), (f"mx_{which}", K[0, 2]), (f"my_{which}", K[1, 2]))
    for key, found in wanted:
        if key in info:
            told = _info_number(info, key, 1.0)
            bound = _SAME_FOCAL * told if key[0] == "f" else _SAME_POINT * width
            if abs(found - told) > bound:
                raise SdvlmError(
                    f"{where}: says {found:.2f} where the scene's text file says {key} = {told:.2f}; it is the "
                    "intrinsics file of another camera"
                )


def check_registered(extrinsic: NDArray[np.float64], where: str) -> None:
    """Refuse frames stored with extrinsics: which way they map is not stated, and exported depth has none.

    Raises:
        SdvlmError: the matrix is not the identity.
    """
    if not np.allclose(extrinsic, np.eye(4), atol=1e-6):
        raise SdvlmError(
            f"{where}: is not the identity; register depth to colour first, only registered scans are read"
        )


def parse_info_matrix(info: dict[str, str], key: str, where: str) -> NDArray[np.float64] | None:
    """A rigid (4, 4) matrix of the scene's text file, None if it has none.

    Raises:
        SdvlmError: not sixteen numbers, or not a rotation and a translation.
    """
    if key not in info:
        return None
    try:
        matrix = np.array(info[key].split(), dtype=np.float64).reshape(4, 4)
    except ValueError as error:
        raise SdvlmError(f"{where}: {key} must be 16 numbers; got '{info[key][:80]}'") from error
    fault = pose_fault(matrix)
    if fault is not None:
        raise SdvlmError(f"{where}: {key} must be a rotation and a translation; {fault[0]}")
    return matrix


def pose_fault(pose: NDArray[np.float64]) -> tuple[str, bool] | None:
    """Why a (4, 4) pose cannot be used and whether that is part of ScanNet's format; None if it can.

    Poses of minus infinity say that tracking was lost; NaN and matrices that do not rotate are damage.
    """
    if np.isnan(pose).any():
        return "the pose has entries that are not numbers (NaN)", False
    if np.isinf(pose).any():
        return "the pose is infinite: tracking was lost", True
    R = pose[:3, :3]
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-2) or np.linalg.det(R) < 0 or abs(pose[3, 3] - 1) > 1e-3:
        return "the pose is not a rotation and a translation", False
    return None
