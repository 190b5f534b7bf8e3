"""Integer codes that data sets store depth in, and their inverses. Pure functions of arrays.

SUN RGB-D rotates the bits of a 16-bit millimetre value left by three (its toolbox's ``read3dPoints``). SpatialBot
spreads the value over three 8-bit channels (``bunny/util/data_utils.py``): 6 bits in red, 5 in green, 5 in blue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdvlm.types import SdvlmError

__all__ = ["SUNRGBD_MAX_MM", "spatialbot_decode", "spatialbot_encode", "sunrgbd_decode", "sunrgbd_encode"]

SUNRGBD_MAX_MM = 8000
"""SUN RGB-D's own toolbox clips depth at 8 m; farther returns of its sensors are not trusted."""


def sunrgbd_decode(stored: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Stored 16-bit values to millimetres: rotate right by three bits. Any shape; 0 stays 0; not clipped."""
    _need_uint16(stored, "a SUN RGB-D depth map")
    return (stored >> np.uint16(3)) | (stored << np.uint16(13))


def sunrgbd_encode(depth_mm: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Millimetres to stored 16-bit values: rotate left by three bits. Inverse of :func:`sunrgbd_decode`."""
    _need_uint16(depth_mm, "depth in millimetres")
    return (depth_mm << np.uint16(3)) | (depth_mm >> np.uint16(13))


def spatialbot_encode(depth_mm: ArrayLike) -> NDArray[np.uint8]:
    """(...) millimetres 0..65535 to (..., 3) uint8: ``R = d // 1024 * 4, G = d // 32 % 32 * 8, B = d % 32 * 8``.

    Raises:
        SdvlmError: a value does not fit 16 bits.
    """
    depth = np.asarray(depth_mm)
    if not np.issubdtype(depth.dtype, np.integer) or (depth.size and (depth.min() < 0 or depth.max() > 65535)):
        raise SdvlmError("SpatialBot's code holds whole millimetres from 0 to 65535; round and clip the depth first")
    depth = depth.astype(np.uint32)
    channels = (depth // 1024 * 4, depth // 32 % 32 * 8, depth % 32 * 8)
    return np.stack(channels, axis=-1).astype(np.uint8)


def spatialbot_decode(code: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(..., 3) uint8 code to (...) uint16 millimetres. Inverse of :func:`spatialbot_encode`.

    Raises:
        SdvlmError: the array is not (..., 3) uint8, or holds values the code never writes (a JPEG or a resized copy).
    """
    if code.dtype != np.uint8 or code.ndim < 1 or code.shape[-1] != 3:
        raise SdvlmError(f"SpatialBot's code is three 8-bit channels; got {code.dtype} of shape {code.shape}")
    if (code & np.array([3, 7, 7], dtype=np.uint8)).any():
        raise SdvlmError(
            "this is not SpatialBot's depth code (red steps by 4, green and blue by 8): a picture, "
            "or a copy that was resized or saved as JPEG; use the original PNG"
        )
    red, green, blue = (code[..., channel].astype(np.uint16) for channel in range(3))
    return red // 4 * 1024 + green // 8 * 32 + blue // 8


def _need_uint16(values: NDArray[np.uint16], what: str) -> None:
    if values.dtype != np.uint16:
        raise SdvlmError(f"{what} must be uint16; got {values.dtype}")
