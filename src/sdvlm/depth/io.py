"""Read and write depth files: the one place where stored numbers become metres.

Rules when a file says nothing of itself: uint16 is millimetres with 0 (and 65535) unknown, floats are metres, and
other integers need a scale. A file that looks like something else is refused with the fix, never read on a guess.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdvlm.depth.atomic import atomic_file
from sdvlm.depth.codes import (
    SUNRGBD_MAX_MM,
    spatialbot_decode,
    spatialbot_encode,
    sunrgbd_decode,
    sunrgbd_encode,
)
from sdvlm.depth.raw import META_KEY, RawDepth, read_raw, sniff_format
from sdvlm.depth.sparse import rasterize_points, read_points
from sdvlm.depth.telltales import (
    eight_bit_content,
    grows_downwards,
    implausible_metres,
    min_max_normalised,
    sunrgbd_shift,
)
from sdvlm.types import DepthKind, DepthMap, SdvlmError

__all__ = ["CODECS", "read_depth", "write_depth"]

CODECS = ("png", "tiff", "npy", "npz", "points", "sunrgbd", "spatialbot")
"""Names for ``codec``: the plain formats, sparse points, and the two codes that need to be asked for."""

MILLIMETRE = 0.001
_UINT16_MAX = 65535
_log = logging.getLogger(__name__)
_AS_DISPARITY = "if it is inverse depth pass kind='disparity' (--depth-kind disparity)"


def read_depth(
    path: str | Path,
    *,
    kind: DepthKind | str | None = None,
    scale_to_m: float | None = None,
    codec: str | None = None,
    size: tuple[int, int] | None = None,
) -> DepthMap:
    """Read a depth map of any supported format.

    Args:
        path: the file. Its format is told by its first bytes.
        kind: metric, relative or disparity; default: what the file says, else metric. A file that says otherwise, or
            whose numbers cannot be metres, is refused.
        scale_to_m: metres per stored unit; default: what the file says, else 0.001 for uint16 and 1 for floats.
            Giving it vouches for the numbers: only the plausibility of the resulting metres is checked then.
        codec: one of ``CODECS``; needed for ``sunrgbd`` and ``spatialbot``. A plain name must match the file's format
            and vouches that the integers are plain numbers.
        size: (width, height) of the image; sparse points need it.

    Returns:
        The map in metres (metric) or in the file's own numbers (other kinds), NaN where unknown.

    Raises:
        SdvlmError: one line with what was seen, what is wanted and the fix.
    """
    path = Path(path)
    wanted = _parse_kind(kind)
    if codec is not None and codec not in CODECS:
        raise SdvlmError(f"unknown depth codec {codec!r}; known: {', '.join(CODECS)}")
    if scale_to_m is not None and not (np.isfinite(scale_to_m) and scale_to_m > 0):
        raise SdvlmError(f"depth scale must be a positive number of metres per stored unit; got {scale_to_m}")
    found = sniff_format(path)
    if codec == "points" or (codec is None and found == "points"):
        return _read_sparse(path, wanted, scale_to_m, size)
    raw = read_raw(path)
    if codec in ("sunrgbd", "spatialbot"):
        raw = _decode_code(raw, codec, path)
        scale_to_m = MILLIMETRE if scale_to_m is None else scale_to_m
    elif codec is not None and codec != raw.format:
        raise SdvlmError(f"{path}: is {raw.format}, not {codec}; leave the codec out")
    resolved = _resolve_kind(raw, wanted, path)
    scale = _resolve_scale(raw, scale_to_m, path)
    values = _to_numbers(raw, resolved, scale, codec, path)
    if resolved is DepthKind.METRIC:
        if reason := implausible_metres(values):
            raise SdvlmError(f"{path}: {reason}; give the scale in metres per unit (--depth-scale), or {_AS_DISPARITY}")
        if scale is None and raw.kind is None and (hint := grows_downwards(values)):
            _log.warning("%s: %s; %s", path, hint, _AS_DISPARITY)
    depth = DepthMap(values, resolved, raw.source or path.name)
    if not depth.valid.any():
        raise SdvlmError(f"{path}: has 0 valid pixels of {depth.values.size}; is it the right file and scale?")
    return depth


def _parse_kind(kind: DepthKind | str | None) -> DepthKind | None:
    try:
        return None if kind is None else DepthKind(kind)
    except ValueError:
        raise SdvlmError(f"unknown depth kind {kind!r}; known: {', '.join(DepthKind)}") from None


def _read_sparse(path: Path, kind: DepthKind | None, scale: float | None, size: tuple[int, int] | None) -> DepthMap:
    if kind not in (None, DepthKind.METRIC):
        raise SdvlmError(f"{path}: sparse points are metric; kind {kind} does not apply")
    if size is None:
        raise SdvlmError(f"{path}: sparse points need the size of their image (size=(width, height))")
    points = read_points(path, size)
    depth = rasterize_points(points * [1, 1, 1.0 if scale is None else scale], size, str(path))
    if reason := implausible_metres(depth.values):
        raise SdvlmError(f"{path}: {reason}; z must be metres, or give its scale (--depth-scale)")
    return depth


def _decode_code(raw: RawDepth, codec: str, path: Path) -> RawDepth:
    """The integer code of a data set to plain millimetres."""
    try:
        if codec == "spatialbot":
            values = spatialbot_decode(raw.values)
        else:
            values = np.minimum(sunrgbd_decode(raw.values), np.uint16(SUNRGBD_MAX_MM))
    except SdvlmError as error:
        raise SdvlmError(f"{path}: {error}") from error
    return RawDepth(values, raw.format, raw.kind, raw.scale_to_m, raw.source)


def _resolve_kind(raw: RawDepth, wanted: DepthKind | None, path: Path) -> DepthKind:
    if raw.kind is not None and wanted is not None and raw.kind is not wanted:
        raise SdvlmError(
            f"{path}: says of itself that it holds {raw.kind}, but {wanted} was asked for; "
            f"pass kind='{raw.kind}' (--depth-kind {raw.kind}) or give a {wanted} map"
        )
    return wanted or raw.kind or DepthKind.METRIC


def _resolve_scale(raw: RawDepth, given: float | None, path: Path) -> float | None:
    if given is not None and raw.scale_to_m is not None and not np.isclose(given, raw.scale_to_m, rtol=1e-6):
        raise SdvlmError(
            f"{path}: says of itself that a unit is {raw.scale_to_m:g} m, but {given:g} was given; leave the scale out"
        )
    return raw.scale_to_m if given is None else given


def _to_numbers(
    raw: RawDepth, kind: DepthKind, scale: float | None, codec: str | None, path: Path
) -> NDArray[np.float32]:
    """Stored numbers to (H, W) float32 in metres or own numbers, NaN where the code says unknown."""
    stored, metric = raw.values, kind is DepthKind.METRIC
    if stored.ndim == 3:
        raise SdvlmError(
            f"{path}: is a colour picture, not depth; if it is SpatialBot's three-channel code pass codec='spatialbot'"
        )
    if np.issubdtype(stored.dtype, np.floating):
        if metric and scale is None and raw.kind is None and (reason := min_max_normalised(stored)):
            raise SdvlmError(f"{path}: {reason}, so it is not metres; {_AS_DISPARITY}, or give its scale")
        return stored.astype(np.float32) * np.float32(1.0 if scale is None else scale)
    if metric and scale is None:
        _refuse_integer_telltales(stored, codec, raw.kind, path)
    if metric and scale is None and stored.dtype != np.uint16:
        raise SdvlmError(f"{path}: holds {stored.dtype} numbers of unknown unit; give the scale (--depth-scale)")
    if (stored < 0).any():
        raise SdvlmError(f"{path}: has negative numbers ({stored.dtype}); 16-bit depth wrapped? save it as uint16")
    if scale is None:
        scale = MILLIMETRE if metric else 1.0
    unknown = (stored == 0) | ((stored == _UINT16_MAX) if metric and stored.dtype == np.uint16 else False)
    return np.where(unknown, np.nan, stored * scale).astype(np.float32)


def _refuse_integer_telltales(stored: NDArray[Any], codec: str | None, says: DepthKind | None, path: Path) -> None:
    if stored.dtype == np.uint8:
        raise SdvlmError(
            f"{path}: has 8 bits a pixel: a picture of depth, not depth; export 16-bit millimetres, give its scale "
            f"(--depth-scale), or {_AS_DISPARITY}"
        )
    if stored.dtype != np.uint16 or codec is not None or says is not None:
        return
    if reason := sunrgbd_shift(stored):
        raise SdvlmError(f"{path}: {reason}; pass codec='sunrgbd', or codec='png' if they are plain millimetres")
    if reason := eight_bit_content(stored) or min_max_normalised(stored):
        raise SdvlmError(f"{path}: {reason}, so it is not millimetres; {_AS_DISPARITY}, or give its scale")


def write_depth(path: str | Path, depth: DepthMap, *, scale_to_m: float = MILLIMETRE, codec: str | None = None) -> Path:
    """Write a depth map; :func:`read_depth` gives the same map back (PNG: rounded to the scale).

    Args:
        path: where to; the suffix chooses the format: ``.png`` uint16, ``.tif``/``.tiff`` float32, ``.npz``, ``.npy``.
            All but ``.npy`` carry the kind. PNG and ``.npy`` hold metric maps only.
        depth: unknown pixels are 0 in integer files and NaN in float files.
        scale_to_m: metres per unit in a PNG.
        codec: ``sunrgbd`` or ``spatialbot`` (PNG, millimetres) instead of plain numbers.

    Returns:
        The path written.

    Raises:
        SdvlmError: the kind does not fit the format, or a value does not fit 16 bits.
    """
    path = Path(path)
    note = {"kind": str(depth.kind), "source": depth.source}
    suffix = path.suffix.lower()
    if suffix not in (".png", ".tif", ".tiff", ".npz", ".npy"):
        raise SdvlmError(f"{path}: depth is written as .png, .tif, .npz or .npy; got {suffix or 'no suffix'}")
    if codec not in (None, suffix[1:], "sunrgbd", "spatialbot") or (
        codec in ("sunrgbd", "spatialbot") and suffix != ".png"
    ):
        raise SdvlmError(f"{path}: codec {codec!r} does not go with {suffix}")
    if suffix in (".png", ".npy") and depth.kind is not DepthKind.METRIC:
        raise SdvlmError(
            f"{path}: {suffix} holds metres but this map is {depth.kind}; write .npz or .tif, which say so"
        )
    if suffix == ".png":
        _write_png(path, depth, scale_to_m, codec, note)
    elif suffix in (".tif", ".tiff"):
        with atomic_file(path) as stream:
            Image.fromarray(depth.values).save(stream, format="TIFF", description=json.dumps({META_KEY: note}))
    else:
        with atomic_file(path) as stream:
            if suffix == ".npy":
                np.save(stream, depth.values)
            else:
                np.savez_compressed(stream, depth=depth.values, sdvlm_depth=np.array(json.dumps(note)))
    return path


def _write_png(path: Path, depth: DepthMap, scale_to_m: float, codec: str | None, note: dict[str, Any]) -> None:
    if codec in ("sunrgbd", "spatialbot"):
        scale_to_m = MILLIMETRE
    stored = _to_uint16(depth, scale_to_m, path)
    if codec == "sunrgbd":
        picture = Image.fromarray(sunrgbd_encode(stored))
    elif codec == "spatialbot":
        picture = Image.fromarray(spatialbot_encode(stored))
    else:
        picture = Image.fromarray(stored)
    info = PngInfo()
    if codec not in ("sunrgbd", "spatialbot"):
        info.add_text(META_KEY, json.dumps(note | {"scale_to_m": scale_to_m}))
    with atomic_file(path) as stream:
        picture.save(stream, format="PNG", pnginfo=info)


def _to_uint16(depth: DepthMap, scale_to_m: float, path: Path) -> NDArray[np.uint16]:
    """Nearest code; known depth stays known (at least 1), and 65535 is kept free: readers take it for no return."""
    if not (np.isfinite(scale_to_m) and scale_to_m > 0):
        raise SdvlmError(f"depth scale must be a positive number of metres per stored unit; got {scale_to_m}")
    units = np.rint(np.nan_to_num(depth.values.astype(np.float64)) / scale_to_m)
    if units.max() >= _UINT16_MAX:
        raise SdvlmError(
            f"{path}: {np.nanmax(depth.values):.2f} m does not fit 16 bits at {scale_to_m:g} m a unit; "
            "use a larger scale_to_m, or write .npz or .tif"
        )
    return np.where(depth.valid, np.maximum(units, 1), 0).astype(np.uint16)
