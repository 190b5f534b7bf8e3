"""Depth written into the prompt: distances in metres, of the cells of a grid or of named boxes.

Metric depth only: a number without a unit would be read as metres. What is unknown is a question mark. The texts are
read back by :func:`parse_grid` and :func:`parse_objects`, to two decimals.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import DepthKind, DepthMap, SdvlmError

__all__ = ["Box", "grid_text", "object_text", "parse_grid", "parse_objects"]

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the depth map"""

_UNKNOWN = "?"
_CELL = r"(?:\?|\d+\.\d\d)"
_GRID = re.compile(rf"depth in metres, (\d+) x (\d+) cells from the top left, row by row: ({_CELL}(?:;? {_CELL})*)")
_OBJECTS = "distance from the camera: "
_OBJECT = re.compile(r"(.+): (\?|\d+\.\d\d m)")


def grid_text(depth: DepthMap, rows: int, columns: int) -> str:
    """``depth in metres, 2 x 3 cells from the top left, row by row: 2.31 2.50 ?; 1.20 1.22 1.90``.

    A cell is the median of its known pixels, ``?`` where it has none. Cells differ by a pixel in size where the map
    does not divide evenly; where it has fewer pixels than cells, neighbouring cells share one.

    Raises:
        SdvlmError: the depth is not metric, or a count is not positive.
    """
    _need_metric(depth)
    if rows < 1 or columns < 1:
        raise SdvlmError(f"depth as text needs at least one row and one column of cells; got {rows} x {columns}")
    width, height = depth.size
    lines = [
        " ".join(_said(depth.values[top:bottom, left:right]) for left, right in _parts(width, columns))
        for top, bottom in _parts(height, rows)
    ]
    return f"depth in metres, {rows} x {columns} cells from the top left, row by row: {'; '.join(lines)}"


def object_text(depth: DepthMap, objects: Sequence[tuple[str, Box]]) -> str:
    """``distance from the camera: chair: 2.31 m; floor lamp: ?``, in the order given.

    An object's depth is the median of the known pixels in the middle half (of width and height) of its box, where
    more of the object and less of what lies behind it is seen than towards the corners.

    Args:
        depth: metric map.
        objects: name and box of each. What of a box lies outside the map does not count.

    Raises:
        SdvlmError: the depth is not metric, there is no object, or a name cannot stand in the list.
    """
    _need_metric(depth)
    if not objects:
        raise SdvlmError("depth as text of objects needs at least one named box; use the grid where there are none")
    said = []
    for name, box in objects:
        if not name.strip() or ";" in name or "\n" in name:
            raise SdvlmError(f"an object of a depth text needs a name in one line without ';'; got {name!r}")
        value = _said(_middle(depth, box))
        said.append(f"{name.strip()}: {value}" + (" m" if value != _UNKNOWN else ""))
    return _OBJECTS + "; ".join(said)


def parse_grid(text: str) -> NDArray[np.float32]:
    """(rows, columns) metres that a :func:`grid_text` somewhere in ``text`` states; NaN where unknown.

    Raises:
        SdvlmError: there is no such statement, or it has another number of cells than it says.
    """
    found = _GRID.search(text)
    if found is None:
        raise SdvlmError("no depth grid is written in this text; grid_text writes what can be read back")
    rows, columns = int(found[1]), int(found[2])
    cells = [[_read(word) for word in line.split()] for line in found[3].split(";")]
    if len(cells) != rows or any(len(line) != columns for line in cells):
        got = f"{len(cells)} rows of {sorted({len(line) for line in cells})}"
        raise SdvlmError(f"the depth text says {rows} x {columns} cells but holds {got}")
    return np.array(cells, dtype=np.float32)


def parse_objects(text: str) -> list[tuple[str, float]]:
    """Names and metres that an :func:`object_text` somewhere in a line of ``text`` states; NaN where unknown.

    Raises:
        SdvlmError: there is no such statement.
    """
    start = text.find(_OBJECTS)
    entries = text[start + len(_OBJECTS) :].split("\n")[0].split("; ") if start >= 0 else []
    found = [_OBJECT.match(entry) for entry in entries]
    if not found or None in found:
        raise SdvlmError("no distances of objects are written in this text; object_text writes what can be read back")
    return [(one[1], _read(one[2].removesuffix(" m"))) for one in found if one is not None]


def _need_metric(depth: DepthMap) -> None:
    if depth.kind is not DepthKind.METRIC:
        raise SdvlmError(
            f"depth is written in metres, got {depth.kind} depth, which has none; "
            "give metric depth (a sensor map or a metric estimator)"
        )


def _parts(length: int, count: int) -> list[tuple[int, int]]:
    """Start and stop of ``count`` parts of ``length`` pixels, none of them empty."""
    starts = [i * length // count for i in range(count + 1)]
    return [(start, max(stop, start + 1)) for start, stop in itertools.pairwise(starts)]


def _middle(depth: DepthMap, box: Box) -> NDArray[np.float32]:
    """The pixels whose centres lie in the middle half of a box, or the pixel in its centre where none does."""
    spans = []
    for start, stop, length in ((box[1], box[3], depth.size[1]), (box[0], box[2], depth.size[0])):
        if not (np.isfinite(start) and np.isfinite(stop) and start <= stop):
            raise SdvlmError(f"a box is left, top, right, bottom in pixels; got {tuple(box)}")
        start, stop = max(start, 0.0), min(stop, float(length))  # what is seen of it
        centre, quarter = (start + stop) / 2, (stop - start) / 4
        first, last = np.ceil(centre - quarter - 0.5), np.ceil(centre + quarter - 0.5)
        if last <= first:
            first, last = np.floor(centre), np.floor(centre) + 1
        spans.append(slice(int(first), int(last)) if start < stop else slice(0, 0))
    return depth.values[spans[0], spans[1]]


def _said(values: NDArray[np.float32]) -> str:
    """Median of the known values with two decimals, at least a centimetre."""
    known = values[~np.isnan(values)]
    return f"{max(float(np.median(known)), 0.01):.2f}" if known.size else _UNKNOWN


def _read(word: str) -> float:
    return np.nan if word == _UNKNOWN else float(word)
