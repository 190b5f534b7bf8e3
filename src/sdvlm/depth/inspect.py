"""What a depth file holds, told from its numbers: the facts, the likely encoding with its reason, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.codes import spatialbot_decode, sunrgbd_decode
from sdvlm.depth.raw import RawDepth, read_raw, sniff_format
from sdvlm.depth.sparse import read_points
from sdvlm.depth.telltales import (
    MAX_MEDIAN_M,
    eight_bit_content,
    grows_downwards,
    implausible_metres,
    min_max_normalised,
    spatialbot_code,
    sunrgbd_shift,
)
from sdvlm.types import DepthKind, SdvlmError

__all__ = ["DepthReport", "inspect_depth"]

OTHER_UNITS = {"TUM RGB-D's 1/5000 m": 1 / 5000, "KITTI's 1/256 m": 1 / 256}
"""units that uint16 depth also comes in; nothing in the file tells them from millimetres"""


@dataclass(frozen=True)
class DepthReport:
    """Facts about one file.

    Args:
        path, format, dtype: of the file.
        width, height: pixels; for sparse points the smallest image that holds them.
        stored_min, stored_max: of the numbers as stored, without holes.
        holes: share of pixels without depth.
        encoding: what the numbers most likely are.
        kind: what that means, None if the file is not depth.
        reason: why we think so.
        near_m, median_m, far_m: metres under that reading; None if it gives none.
        suggestions: what to do, best first.
    """

    path: str
    format: str
    dtype: str
    width: int
    height: int
    stored_min: float
    stored_max: float
    holes: float
    encoding: str
    kind: DepthKind | None
    reason: str
    near_m: float | None = None
    median_m: float | None = None
    far_m: float | None = None
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Reading:
    encoding: str
    kind: DepthKind | None
    reason: str
    metres: NDArray[Any] | None = None
    suggestions: tuple[str, ...] = ()


def inspect_depth(path: str | Path) -> DepthReport:
    """Look into a depth file of any format :func:`~sdvlm.depth.io.read_depth` knows.

    Raises:
        SdvlmError: the file is missing, damaged or of no format that holds depth.
    """
    path = Path(path)
    if sniff_format(path) == "points":
        return _inspect_points(path)
    raw = read_raw(path)
    stored = raw.values
    known = _known(stored)
    if stored.ndim == 3:
        reading = _read_colour(stored)
    elif np.issubdtype(stored.dtype, np.floating):
        reading = _read_floats(raw, known)
    else:
        reading = _read_integers(raw, known)
    height, width = stored.shape[:2]
    near, median, far = _range(reading.metres)
    return DepthReport(
        str(path),
        raw.format,
        str(stored.dtype),
        width,
        height,
        float(known.min()) if known.size else 0.0,
        float(known.max()) if known.size else 0.0,
        1.0 - known.size / stored.size,
        reading.encoding,
        reading.kind,
        reading.reason,
        near,
        median,
        far,
        reading.suggestions if known.size else ("there are 0 valid pixels: export it again",),
    )


def _known(stored: NDArray[Any]) -> NDArray[Any]:
    """Numbers that are not holes: finite, not 0, and not 65535 in 16-bit files."""
    if stored.ndim == 3:
        return stored.reshape(-1)
    known = stored != 0
    if np.issubdtype(stored.dtype, np.floating):
        known &= np.isfinite(stored)
    elif stored.dtype == np.uint16:
        known &= stored != 65535
    return np.asarray(stored[known])


def _range(metres: NDArray[Any] | None) -> tuple[float | None, float | None, float | None]:
    if metres is None or not metres.size:
        return None, None, None
    return float(metres.min()), float(np.median(metres)), float(metres.max())


def _read_colour(stored: NDArray[np.uint8]) -> _Reading:
    if reason := spatialbot_code(stored):
        metres = spatialbot_decode(stored).reshape(-1) * 0.001
        fix = "read it with codec='spatialbot'"
        return _Reading("SpatialBot three-channel code", DepthKind.METRIC, reason, metres[metres > 0], (fix,))
    grey = bool((stored == stored[..., :1]).all())
    reason = "three equal 8-bit channels" if grey else "three 8-bit channels without a known code"
    fix = "a visualisation does not hold depth: export the map itself as 16-bit PNG or float npz"
    return _Reading("8-bit picture of depth (a visualisation)", None, reason, None, (fix,))


def _read_integers(raw: RawDepth, known: NDArray[Any]) -> _Reading:
    stored = raw.values
    if raw.scale_to_m is not None:
        reason = "the file says so itself"
        return _Reading(f"units of {raw.scale_to_m:g} m", raw.kind, reason, known * raw.scale_to_m)
    if stored.dtype == np.uint8:
        fixes = (
            "8 bits are a visualisation: export 16-bit millimetres or floats",
            "if near is bright it is stretched inverse depth: --depth-kind disparity (order only, no metres)",
        )
        return _Reading("8-bit picture of depth (a visualisation)", None, "one 8-bit channel", None, fixes)
    if stored.dtype != np.uint16:
        fix = "give the metres per unit: --depth-scale"
        return _Reading("integers of unknown unit", None, f"{stored.dtype} has no usual unit", None, (fix,))
    if shifted := sunrgbd_shift(stored):
        fixes = ("read it with codec='sunrgbd'", "codec='png' if it is millimetres in steps of 8 after all")
        return _Reading("SUN RGB-D bit shift", DepthKind.METRIC, shifted, sunrgbd_decode(known) * 0.001, fixes)
    if stretched := eight_bit_content(stored) or min_max_normalised(stored):
        fix = "no metres in it: --depth-kind disparity if near is large, or the scale if you know it"
        return _Reading("stretched for viewing", None, stretched, None, (fix,))
    metres = known * 0.001
    hints = _downward_hint(np.where(stored == 65535, 0, stored)) + _unit_hints(metres)
    return _Reading("uint16 millimetres", DepthKind.METRIC, "16-bit integers, 0 = hole", metres, hints)


def _unit_hints(metres: NDArray[Any]) -> tuple[str, ...]:
    if not metres.size:
        return ()
    median = float(np.median(metres))
    others = [f"{median * 1000 * unit:.2f} m as {name} (--depth-scale {unit:g})" for name, unit in OTHER_UNITS.items()]
    return (f"does the median fit the scene? {median:.2f} m as millimetres, {', '.join(others)}",)


def _read_floats(raw: RawDepth, known: NDArray[Any]) -> _Reading:
    if raw.kind is not None:
        metres = known[known > 0] if raw.kind is DepthKind.METRIC else None
        return _Reading(f"float {raw.kind}", raw.kind, "the file says so itself", metres)
    if stretched := min_max_normalised(raw.values):
        fix = "no metres in it: --depth-kind disparity if near is large, relative if far is large"
        return _Reading("stretched for viewing", None, stretched, None, (fix,))
    positive = known[known > 0]
    if implausible := implausible_metres(positive):
        if float(np.median(positive)) < MAX_MEDIAN_M:
            fix = "give the metres per unit: --depth-scale"
            return _Reading("floats of unknown unit", None, implausible, None, (fix,))
        fix = "if they are millimetres: --depth-scale 0.001; if larger is nearer: --depth-kind disparity"
        return _Reading("float millimetres or disparity", None, implausible, None, (fix,))
    return _Reading(
        "float metres", DepthKind.METRIC, "floats of a plausible range", positive, _downward_hint(raw.values)
    )


def _downward_hint(values: NDArray[Any]) -> tuple[str, ...]:
    seen = grows_downwards(values.astype(np.float32))
    return (f"{seen}: --depth-kind disparity if larger means nearer",) if seen else ()


def _inspect_points(path: Path) -> DepthReport:
    points = read_points(path)
    finite = points[np.isfinite(points).all(axis=1)]
    positive = finite[finite[:, 2] > 0, 2]
    if not positive.size:
        raise SdvlmError(f"{path}: has 0 valid points of {len(points)}; z must be positive metres")
    width, height = (int(np.floor(finite[:, axis].max() + 0.5)) + 1 for axis in (0, 1))
    reason = f"{len(points)} triples [u, v, z]"
    bad = implausible_metres(positive)
    near, median, far = _range(None if bad else positive)
    return DepthReport(
        str(path),
        "points",
        "json",
        width,
        height,
        float(finite[:, 2].min()),
        float(finite[:, 2].max()),
        1.0 - len(positive) / len(points),
        "sparse points",
        None if bad else DepthKind.METRIC,
        bad or reason,
        near,
        median,
        far,
        () if not bad else ("z must be metres: give its scale (--depth-scale)",),
    )
