"""Intrinsics from a command line or a file, and the check that they belong to a picture.

Every source here (OpenCV, ROS CameraInfo, ScanNet text, JSON) counts pixel centres as integers; the
:class:`~sdvlm.types.Camera` that comes out has them at +0.5, so its principal point is half a pixel larger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdvlm.depth.raw import one_line
from sdvlm.types import Camera, SdvlmError

__all__ = ["check_camera", "read_camera"]

FOCAL_RANGE = (0.1, 20.0)
"""plausible focal lengths in image widths: 157 degrees of horizontal field of view down to 2.9"""

_WANTED = "fx,fy,cx,cy in pixels, or a JSON file with them, or a text file with the 3x3 matrix"


def read_camera(text: str | Path, image_size: tuple[int, int]) -> Camera:
    """Parse intrinsics for an image of ``image_size`` (width, height).

    Args:
        text: ``"fx,fy,cx,cy"`` in pixels, or a file: JSON with ``fx fy cx cy`` (at the top or under ``intrinsics`` or
            ``camera``), with a row-major 3x3 ``K``, ``k``, ``camera_matrix`` or ``camera_intrinsics``, with ``width``
            and ``height`` if it likes; or plain text with a 3x3 or 4x4 matrix (ScanNet's ``intrinsic_color.txt``).

    Raises:
        SdvlmError: not such a text or file, or the camera does not fit the image.
    """
    path = Path(text)
    is_file = isinstance(text, Path) or path.suffix.lower() in (".json", ".txt") or path.is_file()
    fields = _from_file(path) if is_file else _from_numbers(str(text), str(text))
    width, height = image_size
    own = fields.get("width"), fields.get("height")
    if None not in own and own != (width, height):
        raise SdvlmError(
            f"camera {text}: is for {own[0]:g}x{own[1]:g} pixels but the image is {width}x{height}; "
            "scale fx and cx by the width ratio and fy and cy by the height ratio"
        )
    camera = Camera.from_opencv(width, height, *(fields[name] for name in ("fx", "fy", "cx", "cy")))
    check_camera(camera, image_size)
    return camera


def check_camera(camera: Camera, image_size: tuple[int, int]) -> None:
    """Refuse a camera that cannot have taken an image of ``image_size`` (width, height).

    Raises:
        SdvlmError: another size, a principal point outside the image, or a focal length out of ``FOCAL_RANGE``.
    """
    width, height = image_size
    if camera.size != (width, height):
        raise SdvlmError(f"camera is for {camera.width}x{camera.height} pixels but the image is {width}x{height}")
    if not (0 <= camera.cx <= width and 0 <= camera.cy <= height):
        raise SdvlmError(
            f"camera does not fit: principal point ({camera.cx - 0.5:g}, {camera.cy - 0.5:g}) lies outside the "
            f"{width}x{height} image; is the calibration for another resolution, or fx,fy,cx,cy in another order?"
        )
    low, high = FOCAL_RANGE[0] * width, FOCAL_RANGE[1] * width
    for name, focal in (("fx", camera.fx), ("fy", camera.fy)):
        if not low <= focal <= high:
            raise SdvlmError(
                f"camera does not fit: {name}={focal:g} for a {width}x{height} image; wanted pixels between "
                f"{low:g} and {high:g} (not millimetres, not normalised)"
            )


def _from_file(path: Path) -> dict[str, float]:
    if path.is_dir():
        raise SdvlmError(f"camera {path}: is a folder; wanted {_WANTED}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SdvlmError(f"camera {path}: no such file; wanted {_WANTED}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SdvlmError(f"camera {path}: cannot be read: {one_line(error)}") from error
    if not text.lstrip().startswith("{"):
        return _from_numbers(text, str(path))
    try:
        return _from_mapping(json.loads(text), str(path))
    except (json.JSONDecodeError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, SdvlmError):
            raise
        raise SdvlmError(f"camera {path}: {one_line(error)}; wanted {_WANTED}") from error


def _from_mapping(data: Mapping[str, Any], name: str) -> dict[str, float]:
    inner = next((data[key] for key in ("intrinsics", "camera") if isinstance(data.get(key), Mapping)), data)
    size = {key: float(inner.get(key, data.get(key))) for key in ("width", "height") if inner.get(key, data.get(key))}
    if all(key in inner for key in ("fx", "fy", "cx", "cy")):
        return {key: float(inner[key]) for key in ("fx", "fy", "cx", "cy")} | size
    for key in ("K", "k", "camera_matrix", "camera_intrinsics"):
        matrix = inner.get(key)
        matrix = matrix.get("data") if isinstance(matrix, Mapping) else matrix
        if matrix is not None:
            rows = [row if isinstance(row, list) else [row] for row in matrix]
            return _from_values([float(value) for row in rows for value in row], name) | size
    raise SdvlmError(f"camera {name}: has no fx, fy, cx, cy and no matrix K; wanted {_WANTED}")


def _from_numbers(text: str, name: str) -> dict[str, float]:
    try:
        values = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise SdvlmError(f"camera {name!r}: not numbers; wanted {_WANTED}") from None
    return _from_values(values, name)


def _from_values(values: list[float], name: str) -> dict[str, float]:
    """4 numbers are fx fy cx cy; 9 or 16 a row-major matrix."""
    if len(values) == 4:
        return dict(zip(("fx", "fy", "cx", "cy"), values, strict=True))
    if len(values) in (9, 16):
        stride = 3 if len(values) == 9 else 4
        return {"fx": values[0], "fy": values[stride + 1], "cx": values[2], "cy": values[stride + 2]}
    raise SdvlmError(f"camera {name!r}: has {len(values)} numbers; wanted {_WANTED}")
