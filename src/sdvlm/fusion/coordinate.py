"""Depth to the number that is encoded.

``log_metric`` is our default: one global scale for all pictures, equal relative steps everywhere, and multiplying
depth by k adds a constant. Per-image min-max (``minmax``, ``sdvlm_compat``) cannot carry metres: a map and its double
get the same code. They are here to order things by nearness, and to reproduce published models.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sdvlm.fusion.depth_grid import DepthGrid, kind_code
from sdvlm.types import DepthKind, SdvlmError

__all__ = ["COORDINATES", "PER_PICTURE", "Z_MAX_M", "Z_MIN_M", "accepted_kinds", "coordinate", "signed_log"]

Z_MIN_M, Z_MAX_M = 0.1, 100.0
"""range of the log coordinate in metres; nearer and farther is clipped"""
PER_PICTURE = frozenset({"minmax", "sdvlm_compat"})
"""coordinates that are counted over all depths of a picture"""


def log_metric(grid: DepthGrid) -> Tensor:
    """(T,) log(z / 0.1 m) / log(1000): 0 at 10 cm, 1 at 100 m."""
    return torch.log(grid.z.clamp(Z_MIN_M, Z_MAX_M) / Z_MIN_M) / math.log(Z_MAX_M / Z_MIN_M)


def metres(grid: DepthGrid) -> Tensor:
    """(T,) depth in metres as it is."""
    return grid.z


def inverse(grid: DepthGrid) -> Tensor:
    """(T,) 1 / z in 1/m, at most 10."""
    return 1.0 / grid.z.clamp(min=Z_MIN_M)


def minmax(grid: DepthGrid) -> Tensor:
    """(T,) position between the nearest (0) and farthest (1) token of its own picture; disparity is turned round."""
    code = kind_code(DepthKind.DISPARITY)
    return _minmax(torch.where(grid.kind == code, -grid.z, grid.z), grid.image_index)


def sdvlm_compat(grid: DepthGrid) -> Tensor:
    """(T,) min-max of the pooled map times 100, as the released SD-VLM code computes it (``encode_depth``).

    Nothing is turned round: disparity gives 100 to the nearest token, measured depth to the farthest.
    """
    return 100.0 * _minmax(grid.z, grid.image_index)


def _minmax(values: Tensor, image_index: Tensor) -> Tensor:
    known = ~torch.isnan(values)
    images = int(image_index.max()) + 1 if len(image_index) else 0
    low = values.new_full((images,), torch.inf)
    high = values.new_full((images,), -torch.inf)
    low.scatter_reduce_(0, image_index, torch.where(known, values, torch.inf), "amin")
    high.scatter_reduce_(0, image_index, torch.where(known, values, -torch.inf), "amax")
    spread = (high - low + 1e-9)[image_index]
    return (values - low[image_index]) / spread


COORDINATES: dict[str, Callable[[DepthGrid], Tensor]] = {
    "log_metric": log_metric,
    "metres": metres,
    "inverse": inverse,
    "minmax": minmax,
    "sdvlm_compat": sdvlm_compat,
}
_ANY_KIND = {"minmax", "sdvlm_compat"}


def accepted_kinds(name: str) -> frozenset[DepthKind]:
    """The depth kinds a coordinate is defined for.

    Raises:
        SdvlmError: no such coordinate.
    """
    if name not in COORDINATES:
        raise SdvlmError(f"no depth coordinate '{name}'; choose one of {', '.join(COORDINATES)}")
    return frozenset(DepthKind) if name in _ANY_KIND else frozenset({DepthKind.METRIC})


def check_kinds(grid: DepthGrid, name: str) -> None:
    """Refuse a grid whose depth is not of a kind the coordinate is defined for.

    Raises:
        SdvlmError: says what came and what would fit.
    """
    allowed = {0, *(kind_code(kind) for kind in accepted_kinds(name))}
    seen = {int(code) for code in torch.unique(grid.kind)}
    if seen - allowed:
        got = ", ".join(kind for kind in DepthKind if kind_code(kind) in seen - allowed)
        raise SdvlmError(
            f"the coordinate '{name}' needs metric depth in metres, got {got}; "
            "give metric depth (a sensor map or a metric estimator) or use the coordinate 'minmax'"
        )


def coordinate(grid: DepthGrid, name: str = "log_metric") -> Tensor:
    """(T,) float32 coordinate of each token; NaN where depth is unknown.

    Raises:
        SdvlmError: no such coordinate, or the grid holds a kind of depth that it is not defined for.
    """
    check_kinds(grid, name)
    with torch.autocast(device_type=grid.z.device.type, enabled=False):
        return COORDINATES[name](grid)


def signed_log(metres: Tensor) -> Tensor:
    """Log-like coordinate for lengths of either sign: asinh(x / 0.1 m) / asinh(1000), odd, about -1..1 for 100 m."""
    return torch.asinh(metres / Z_MIN_M) / math.asinh(Z_MAX_M / Z_MIN_M)
