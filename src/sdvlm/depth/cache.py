"""Depth maps kept on disk, found again by what was asked: image content, estimator, its revision, camera.

An entry is one ``.npz`` that :func:`~sdvlm.depth.io.read_depth` reads too. A damaged entry counts as absent and is
computed again. Several processes may share a folder: entries appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdvlm.depth.atomic import atomic_file
from sdvlm.depth.bounded_folder import BoundedFolder
from sdvlm.depth.estimator import DepthEstimate, DepthEstimator
from sdvlm.depth.raw import DECODE_ERRORS, META_KEY
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["DepthCache", "default_cache_folder", "estimate_cached"]

_FORMAT = "1"  # part of every key: raise it when what is stored changes meaning
_CAMERA_KEY = f"{META_KEY}_camera"
_log = logging.getLogger(__name__)


def default_cache_folder(part: str = "depth") -> Path:
    """``$SDVLM_CACHE/PART``, else ``~/.cache/sdvlm/PART``."""
    root = os.environ.get("SDVLM_CACHE")
    return (Path(root).expanduser() if root else Path.home() / ".cache" / "sdvlm") / part


class DepthCache:
    """A folder of depth estimates. A camera is stored only where the estimator worked it out.

    Args:
        folder: made when first written to; default :func:`default_cache_folder`.
        max_bytes: the least recently used entries are removed beyond this; None: never.
    """

    def __init__(self, folder: str | Path | None = None, max_bytes: int | None = None) -> None:
        self.folder = default_cache_folder() if folder is None else Path(folder)
        self._files = BoundedFolder(self.folder, ".npz", max_bytes)

    def key(self, image: NDArray[np.uint8], estimator: DepthEstimator, camera: Camera | None = None) -> str:
        """Hex digest of all that decides the map. The camera counts only for estimators that use it."""
        uses_camera = getattr(estimator, "uses_camera", True)
        words = {
            "format": _FORMAT,
            "estimator": estimator.id,
            "revision": str(getattr(estimator, "revision", "")),
            "kind": str(estimator.kind),
            "camera": asdict(camera) if camera is not None and uses_camera else None,
            "shape": image.shape,
        }
        digest = hashlib.blake2b(json.dumps(words, sort_keys=True).encode(), digest_size=20)
        digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def path(self, key: str) -> Path:
        """Where an entry lies, whether or not it exists."""
        return self._files.path(key)

    def get(self, key: str) -> DepthEstimate | None:
        """The entry, or None if there is none or it is damaged."""
        path = self.path(key)
        try:
            with np.load(path, allow_pickle=False) as archive:
                note = json.loads(str(archive[META_KEY]))
                depth = DepthMap(archive["depth"], DepthKind(note["kind"]), note["source"])
                camera = Camera(**note["camera"]) if note["camera"] else None
            self._files.used(path)
        except FileNotFoundError:
            return None
        except (*DECODE_ERRORS, TypeError) as error:
            _log.warning("depth cache entry %s is damaged and will be computed again: %s", path.name, error)
            return None
        return DepthEstimate(depth, camera, camera_estimated=camera is not None)

    def put(self, key: str, estimate: DepthEstimate) -> None:
        """Store an entry, replacing one of the same key."""
        note = {
            "kind": str(estimate.depth.kind),
            "source": estimate.depth.source,
            "camera": asdict(estimate.camera) if estimate.camera and estimate.camera_estimated else None,
        }
        path = self.path(key)
        with atomic_file(path) as stream:
            np.savez(stream, depth=estimate.depth.values, sdvlm_depth=np.array(json.dumps(note)))
        self._files.written(path)


def estimate_cached(
    estimator: DepthEstimator,
    images: Sequence[NDArray[np.uint8]],
    cameras: Sequence[Camera | None] | None = None,
    cache: DepthCache | None = None,
) -> list[DepthEstimate]:
    """Estimates for all pictures; only those not in the cache are computed, equal pictures once.

    Args:
        estimator: any :class:`~sdvlm.depth.estimator.DepthEstimator`.
        images: (H, W, 3) uint8 each; sizes may differ.
        cameras: one a picture or None.
        cache: default: the one in :func:`default_cache_folder`.
    """
    cache = DepthCache() if cache is None else cache
    cameras = [None] * len(images) if cameras is None else list(cameras)
    if len(cameras) != len(images):
        raise SdvlmError(f"got {len(images)} images and {len(cameras)} cameras; wanted one camera (or None) an image")
    keys = [cache.key(image, estimator, camera) for image, camera in zip(images, cameras, strict=True)]
    found = {key: cache.get(key) for key in dict.fromkeys(keys)}
    known = {key: estimate for key, estimate in found.items() if estimate is not None}
    missing = {key: index for index, key in reversed(list(enumerate(keys))) if key not in known}
    _log.info("%d of %d depth maps come from the cache %s", len(keys) - len(missing), len(keys), cache.folder)
    if missing:
        at = list(missing.values())
        made = estimator.estimate([images[index] for index in at], [cameras[index] for index in at])
        for key, estimate in zip(missing, made, strict=True):
            cache.put(key, estimate)
            known[key] = estimate
    return [
        known[key] if known[key].camera_estimated else replace(known[key], camera=camera)
        for key, camera in zip(keys, cameras, strict=True)
    ]
