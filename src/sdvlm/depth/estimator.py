"""What a depth estimator is, which ones we name, and how a name, folder or object becomes one.

Nothing heavy is imported here; torch and transformers load when an estimator does.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = [
    "DEFAULT_ESTIMATOR",
    "ESTIMATORS",
    "DepthEstimate",
    "DepthEstimator",
    "EstimatorSpec",
    "load_estimator",
]


@dataclass(frozen=True, eq=False)
class DepthEstimate:
    """What an estimator says of one picture.

    Args:
        depth: map of the picture's size.
        camera: the intrinsics the metres hold for: those given, or those the estimator worked out, else None.
        camera_estimated: True if ``camera`` is the estimator's own guess.
    """

    depth: DepthMap
    camera: Camera | None = None
    camera_estimated: bool = False


@runtime_checkable
class DepthEstimator(Protocol):
    """Anything that turns pictures into depth maps; no base class needed.

    Two more attributes are honoured where an object has them: ``revision`` (str: what tells two versions of the same
    ``id`` apart, part of the cache key; default empty) and ``uses_camera`` (bool: do given cameras change the depth?
    default True).
    """

    @property
    def id(self) -> str:
        """Stable name, kept as the maps' ``source`` and in cache keys."""

    @property
    def licence(self) -> str:
        """Licence of the weights, ``"unknown"`` if nobody said."""

    @property
    def kind(self) -> DepthKind:
        """Kind of every map it returns."""

    def estimate(
        self, images: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera | None] | None = None
    ) -> list[DepthEstimate]:
        """One estimate a picture, in order. ``images``: (H, W, 3) uint8 sRGB each, sizes may differ."""


@dataclass(frozen=True)
class EstimatorSpec:
    """A checkpoint we name.

    Args:
        hub_id: Hugging Face repository.
        licence: of the weights, as their card states it.
        kind: of its maps.
        commercial: may the weights be used commercially?
        note: what to know before using it.
    """

    hub_id: str
    licence: str
    kind: DepthKind
    commercial: bool
    note: str


DEFAULT_ESTIMATOR = "depth-anything-v2-metric-indoor-small"

_METRIC, _DISPARITY = DepthKind.METRIC, DepthKind.DISPARITY
_DA2 = "depth-anything/Depth-Anything-V2"

ESTIMATORS: dict[str, EstimatorSpec] = {
    "depth-anything-v2-metric-indoor-small": EstimatorSpec(
        f"{_DA2}-Metric-Indoor-Small-hf", "Apache-2.0", _METRIC, True, "up to 20 m; trained on Hypersim's camera"
    ),
    "depth-anything-v2-metric-outdoor-small": EstimatorSpec(
        f"{_DA2}-Metric-Outdoor-Small-hf", "Apache-2.0", _METRIC, True, "up to 80 m; trained on Virtual KITTI's camera"
    ),
    "depth-anything-v2-metric-indoor-large": EstimatorSpec(
        f"{_DA2}-Metric-Indoor-Large-hf", "CC-BY-NC-4.0", _METRIC, False, "cards disagree; treat as non-commercial"
    ),
    "depth-anything-v2-metric-outdoor-large": EstimatorSpec(
        f"{_DA2}-Metric-Outdoor-Large-hf", "CC-BY-NC-4.0", _METRIC, False, "cards disagree; treat as non-commercial"
    ),
    "depth-anything-v2-small": EstimatorSpec(
        f"{_DA2}-Small-hf", "Apache-2.0", _DISPARITY, True, "order only, no metres"
    ),
    "depth-anything-v2-base": EstimatorSpec(
        f"{_DA2}-Base-hf", "CC-BY-NC-4.0", _DISPARITY, False, "order only, no metres"
    ),
    "depth-anything-v2-large": EstimatorSpec(
        f"{_DA2}-Large-hf", "CC-BY-NC-4.0", _DISPARITY, False, "order only, no metres; what SD-VLM used"
    ),
    "zoedepth-nyu-kitti": EstimatorSpec(
        "Intel/zoedepth-nyu-kitti", "MIT", _METRIC, True, "indoor and outdoor in one model, when the domain is unknown"
    ),
    "depth-pro": EstimatorSpec(
        "apple/DepthPro-hf",
        "Apple AMLR",
        _METRIC,
        False,
        "research licence; works out the focal length, or takes yours",
    ),
    "dpt-large": EstimatorSpec("Intel/dpt-large", "Apache-2.0", _DISPARITY, True, "MiDaS 3.0; order only, no metres"),
    "dpt-dinov2-small-nyu": EstimatorSpec(
        "facebook/dpt-dinov2-small-nyu", "Apache-2.0", _METRIC, True, "rooms like NYU's, up to 10 m"
    ),
    "glpn-nyu": EstimatorSpec("vinvino02/glpn-nyu", "Apache-2.0", _METRIC, True, "rooms like NYU's, up to 10 m"),
    "tipsv2-b14-dpt": EstimatorSpec(
        "google/tipsv2-b14-dpt", "Apache-2.0", _METRIC, True, "rooms like NYU's, up to 10 m"
    ),
}
"""Short names for :func:`load_estimator`. Any other transformers depth checkpoint works by hub id or folder."""


def load_estimator(
    source: str | Path | DepthEstimator = DEFAULT_ESTIMATOR,
    *,
    device: str | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    kind: DepthKind | str | None = None,
    batch_size: int = 8,
) -> DepthEstimator:
    """An estimator from a short name, a hub id, a local folder, ``module:attribute``, or an object that already is one.

    Args:
        source: a key of ``ESTIMATORS``; ``owner/name`` on the hub; a folder with a transformers checkpoint;
            ``"package.module:attribute"`` naming an estimator, or a class or function that makes one; or the object.
        device: torch device; default: cuda if there is one, else cpu.
        dtype: torch dtype name of the weights while running.
        revision: hub revision (commit, tag, branch).
        kind: what the maps mean, for checkpoints whose config does not tell.
        batch_size: pictures a forward pass.

    Raises:
        SdvlmError: nothing usable is found there.
    """
    if not isinstance(source, str | Path):
        return _checked(source, type(source).__name__)
    if kind is not None and kind not in list(DepthKind):
        raise SdvlmError(f"unknown depth kind {str(kind)!r}; known: {', '.join(DepthKind)}")
    text = str(source)
    spec = ESTIMATORS.get(text)
    if spec is None and not Path(text).expanduser().exists():
        if re.fullmatch(r"[\w.]+:\w+", text):
            return _import_estimator(text)
        if isinstance(source, Path) or text.startswith((".", "/", "~")):
            raise SdvlmError(f"estimator {text}: no such folder; wanted a folder with config.json and safetensors")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
            raise SdvlmError(
                f"unknown estimator {text!r}; wanted one of {', '.join(ESTIMATORS)}, a hub id (owner/name), "
                "a folder, or module:attribute"
            )
    from sdvlm.depth.hf import load_hf_estimator

    return load_hf_estimator(
        spec.hub_id if spec else text,
        device=device,
        dtype=dtype,
        revision=revision,
        kind=DepthKind(kind) if kind else None,
        batch_size=batch_size,
    )


def licence_of(hub_id: str) -> str | None:
    """Licence of a checkpoint we name, by hub id; None for others."""
    return next((spec.licence for spec in ESTIMATORS.values() if spec.hub_id == hub_id), None)


def _import_estimator(text: str) -> DepthEstimator:
    module_name, attribute = text.split(":")
    try:
        found: Any = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise SdvlmError(f"estimator {text}: cannot be imported: {error}") from error
    if isinstance(found, type) or not hasattr(found, "estimate"):
        if not callable(found):
            raise SdvlmError(f"estimator {text}: is {type(found).__name__}; wanted an estimator or what makes one")
        found = found()
    return _checked(found, text)


def _checked(found: object, name: str) -> DepthEstimator:
    missing = [part for part in ("id", "licence", "kind", "estimate") if not hasattr(found, part)]
    if missing or not isinstance(found, DepthEstimator):
        raise SdvlmError(f"estimator {name}: has no {', '.join(missing)}; see sdvlm.depth.DepthEstimator")
    return found
