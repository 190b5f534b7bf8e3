"""Depth maps for picture files: read, estimate through the cache, write, and say what was written."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sdvlm.depth.cache import DepthCache, estimate_cached
from sdvlm.depth.camera_file import read_camera
from sdvlm.depth.estimator import DepthEstimate, DepthEstimator
from sdvlm.depth.frame import load_image
from sdvlm.depth.io import write_depth
from sdvlm.types import Camera, DepthKind, SdvlmError

__all__ = ["DepthRecord", "estimate_files"]

MAX_PNG_M = 65.534
"""what uint16 millimetres hold; maps that reach farther are written as ``.npz``"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DepthRecord:
    """One map written.

    Args:
        image, depth: paths.
        kind, source, licence: of the map, its estimator and the estimator's weights.
        width, height: pixels.
        valid: share of pixels with depth.
        near, median, far: smallest, median and largest value, metres if the kind is metric.
        camera: intrinsics the estimator worked out, None if it did not.
    """

    image: str
    depth: str
    kind: DepthKind
    source: str
    licence: str
    width: int
    height: int
    valid: float
    near: float
    median: float
    far: float
    camera: Camera | None = None


def estimate_files(
    images: Sequence[Path],
    folder: Path,
    estimator: DepthEstimator,
    *,
    cache: DepthCache | None = None,
    camera: str | None = None,
    batch_size: int = 8,
) -> Iterator[DepthRecord]:
    """Estimate and write one map a picture: ``folder/<stem>.png`` (uint16 millimetres), or ``.npz`` where that does not
    fit (relative and disparity maps, metres beyond 65.534). Pictures of one name in several folders keep those folders.

    Args:
        images: picture files, all read in order; ``batch_size`` are held in memory at a time.
        folder: made if absent.
        cache: default: :class:`~sdvlm.depth.cache.DepthCache` in its default folder.
        camera: see :func:`~sdvlm.depth.camera_file.read_camera`; one for all pictures.

    Raises:
        SdvlmError: an unusable picture, or two pictures that would be written to one name.
    """
    targets = dict(zip(images, _targets(images, folder), strict=True))
    cache = DepthCache() if cache is None else cache
    for start in range(0, len(images), batch_size):
        paths = images[start : start + batch_size]
        pictures = [load_image(path) for path in paths]
        cameras = [read_camera(camera, (p.shape[1], p.shape[0])) if camera else None for p in pictures]
        for path, estimate in zip(paths, estimate_cached(estimator, pictures, cameras, cache), strict=True):
            yield _write(path, targets[path], estimate, estimator.licence)


def _targets(images: Sequence[Path], folder: Path) -> list[Path]:
    """Where each map goes, without its suffix; refuses to write two to one place or onto a picture."""
    names = [Path(path.stem) for path in images]
    if len(set(names)) < len(names):
        full = [path.resolve() for path in images]
        root = os.path.commonpath([path.parent for path in full])
        names = [path.relative_to(root).with_suffix("") for path in full]
    seen: dict[Path, Path] = {}
    sources = {path.resolve() for path in images}
    for path, name in zip(images, names, strict=True):
        if name in seen:
            raise SdvlmError(f"{seen[name]} and {path} would both be written as {name}; run them apart")
        seen[name] = path
        if (target := (folder / f"{name}.png").resolve()) in sources:
            raise SdvlmError(f"{target} is one of the pictures and would be overwritten; choose another folder with -o")
    return [folder / name for name in names]


def _write(path: Path, target: Path, estimate: DepthEstimate, licence: str) -> DepthRecord:
    depth = estimate.depth
    known = depth.values[depth.valid]
    if not known.size:
        raise SdvlmError(f"{path}: {depth.source} found no depth in this picture")
    fits = depth.kind is DepthKind.METRIC and float(known.max()) <= MAX_PNG_M
    if depth.kind is DepthKind.METRIC and not fits:
        _log.warning("%s: depth reaches %.1f m, more than 16-bit millimetres hold; written as .npz", path, known.max())
    written = write_depth(target.with_name(f"{target.name}{'.png' if fits else '.npz'}"), depth)
    near, median, far = float(known.min()), float(np.median(known)), float(known.max())
    valid, camera = float(depth.valid.mean()), estimate.camera if estimate.camera_estimated else None
    return DepthRecord(
        str(path), str(written), depth.kind, depth.source, licence, *depth.size, valid, near, median, far, camera
    )
