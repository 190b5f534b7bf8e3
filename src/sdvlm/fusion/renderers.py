"""A depth map as one more picture for the vision tower: SpatialBot's three-channel code, gray, or a colour map.

What all renderers share: near is bright (gray) or warm (colours), whatever the kind of depth; a pixel without depth is
black, and no known depth is. They look at each pixel alone, so they are meant for a map that already has the size the
tower sees: interpolating a rendered picture makes up depths, and in ``pack24`` arbitrary ones.

A metric map is rendered against one fixed range, so that a colour means a distance. A map of another kind has no
distances; where a renderer takes one, it spreads the map's own 2 to 98 percentiles, which shows order alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.codes import spatialbot_decode, spatialbot_encode
from sdvlm.fusion.coordinate import Z_MAX_M, Z_MIN_M
from sdvlm.types import DepthKind, DepthMap, SdvlmError

__all__ = ["INVERSE_MIN_M", "PACK24_MAX_M", "RENDERERS", "render_depth", "renderer_kinds", "unpack24"]

Picture = NDArray[np.uint8]

INVERSE_MIN_M = 0.5
"""depth in metres at the bright end of ``inverse_gray``; nearer is clipped"""
PACK24_MAX_M = 65.535
"""farthest depth in metres that ``pack24`` can hold; farther is clipped, as what is nearer than a millimetre is"""

_PERCENTILES = (2, 98)

_TURBO_KNOTS = (
    "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c "
    "cdec34 eecf3a fdac34 fb7e21 eb500e d02f05 a91601 7a0403"
)
"""every 16th colour and the last of the Turbo colour map, far to near (Mikhailov 2019, "Turbo, An Improved Rainbow
Colormap for Visualization"); the colours between are interpolated, at most seven levels from the map's own"""


def pack24(depth: DepthMap) -> Picture:
    """Whole millimetres over three channels (SpatialBot, arXiv 2406.13642): ``depth.codes.spatialbot_encode``."""
    millimetres = np.clip(np.round(1000.0 * depth.values.astype(np.float64)), 1, round(1000 * PACK24_MAX_M))
    return spatialbot_encode(np.where(depth.valid, millimetres, 0).astype(np.int64))


def unpack24(picture: Picture) -> DepthMap:
    """(H, W, 3) uint8 of ``pack24`` to the metric map it was made of, rounded to millimetres; black is unknown.

    Raises:
        SdvlmError: the picture holds values the code never writes, as one that was resized or saved as JPEG does.
    """
    metres = spatialbot_decode(picture) / np.float32(1000)
    return DepthMap(metres.astype(np.float32), DepthKind.METRIC, "pack24")


def log_gray(depth: DepthMap) -> Picture:
    """Logarithm of depth, white at 0.1 m to almost black at 100 m: one level is 2.8 % of depth everywhere."""
    return _gray(1 - _log_share(depth), depth)


def inverse_gray(depth: DepthMap) -> Picture:
    """Inverse depth, white at 0.5 m and nearer: fine steps near, 0.2 m at 5 m. Disparity by its own percentiles."""
    if depth.kind is DepthKind.METRIC:
        with np.errstate(invalid="ignore"):
            return _gray(np.minimum(INVERSE_MIN_M / depth.values, 1.0), depth)
    return _gray(_nearness(depth), depth)


def turbo(depth: DepthMap) -> Picture:
    """Turbo colours, red near to blue far, over the range of ``log_gray``; another kind by its own percentiles."""
    near = 1 - _log_share(depth) if depth.kind is DepthKind.METRIC else _nearness(depth)
    level = np.round(255 * np.nan_to_num(near)).astype(np.intp)
    return np.where(depth.valid[..., None], _turbo_table()[level], 0).astype(np.uint8)


RENDERERS: dict[str, Callable[[DepthMap], Picture]] = {
    "pack24": pack24,
    "log_gray": log_gray,
    "inverse_gray": inverse_gray,
    "turbo": turbo,
}
_KINDS = {
    "pack24": frozenset({DepthKind.METRIC}),
    "log_gray": frozenset({DepthKind.METRIC}),
    "inverse_gray": frozenset({DepthKind.METRIC, DepthKind.DISPARITY}),
    "turbo": frozenset(DepthKind),
}


def renderer_kinds(name: str) -> frozenset[DepthKind]:
    """The depth kinds a renderer takes.

    Raises:
        SdvlmError: there is no such renderer.
    """
    if name not in RENDERERS:
        raise SdvlmError(f"no depth renderer '{name}'; choose one of {', '.join(RENDERERS)}")
    return _KINDS[name]


def render_depth(depth: DepthMap, name: str) -> Picture:
    """A depth map as a picture of the same size.

    Args:
        depth: (H, W) map, of the size the vision tower sees.
        name: a key of ``RENDERERS``.

    Returns:
        (H, W, 3) uint8; (0, 0, 0) where depth is unknown and nowhere else.

    Raises:
        SdvlmError: there is no such renderer, or it does not take this kind of depth.
    """
    allowed = renderer_kinds(name)
    if depth.kind not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise SdvlmError(
            f"the renderer '{name}' needs {wanted} depth, got {depth.kind}; "
            "give metric depth (a sensor map or a metric estimator) or use the renderer 'turbo'"
        )
    return RENDERERS[name](depth)


def _log_share(depth: DepthMap) -> NDArray[np.float64]:
    """(H, W) place of metric depth in the logarithmic range, 0 at 0.1 m to 1 at 100 m; NaN where unknown."""
    metres = np.clip(depth.values.astype(np.float64), Z_MIN_M, Z_MAX_M)
    return np.asarray(np.log(metres / Z_MIN_M) / np.log(Z_MAX_M / Z_MIN_M))


def _nearness(depth: DepthMap) -> NDArray[np.float64]:
    """(H, W) 0 far to 1 near between the map's own percentiles; 0.5 where all is alike; NaN where unknown."""
    values = depth.values.astype(np.float64) * (1 if depth.kind is DepthKind.DISPARITY else -1)
    if not depth.valid.any():
        return values
    low, high = np.percentile(values[depth.valid], _PERCENTILES)
    if high == low:
        return np.asarray(0.5 + 0.5 * np.sign(values - low))
    return np.asarray(np.clip((values - low) / (high - low), 0, 1))


def _gray(near: NDArray[np.floating], depth: DepthMap) -> Picture:
    """Levels 1 (far) to 255 (near) in three equal channels; 0 where unknown."""
    level = np.where(depth.valid, 1 + np.round(254 * np.nan_to_num(near)), 0).astype(np.uint8)
    return np.repeat(level[..., None], 3, axis=2)


@lru_cache(maxsize=1)
def _turbo_table() -> Picture:
    """(256, 3) uint8, dark blue over green to dark red; all colours differ and none is black."""
    knots = np.array([list(bytes.fromhex(one)) for one in _TURBO_KNOTS.split()])
    at = np.minimum(16 * np.arange(len(knots)), 255)
    channels = [np.round(np.interp(np.arange(256), at, knots[:, channel])) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)
