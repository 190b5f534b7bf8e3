"""What the depth classes of transformers put out, and how it becomes a map of a stated kind. Version knowledge.

Facts as of transformers 5.23; ``AutoModelForDepthEstimation`` maps chmv2, depth_anything, depth_pro, dpt, glpn,
prompt_depth_anything, tipsv2_dpt and zoedepth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sdvlm.types import Camera, DepthKind, SdvlmError

__all__ = ["USES_CAMERA", "depth_from_inverse", "focal_from_fov", "head_kind"]

USES_CAMERA = frozenset({"depth_pro"})
"""model types whose depth changes when the focal length is given"""

_MIN_INVERSE = 1e-4  # Depth Pro's own limit: 10 km; beyond it is sky


def _depth_anything(config: Any) -> DepthKind:
    return DepthKind.METRIC if config.depth_estimation_type == "metric" else DepthKind.DISPARITY


def _dpt(config: Any) -> DepthKind:
    """MiDaS heads give inverse depth. The dpt-dinov2 checkpoints (NYU, KITTI) give metres; no field says so, but only
    they join a DINOv2 backbone with a projection before the head."""
    backbone = getattr(config.backbone_config, "model_type", None)
    return DepthKind.METRIC if backbone == "dinov2" and config.add_projection else DepthKind.DISPARITY


_KINDS: dict[str, Callable[[Any], DepthKind]] = {
    "depth_anything": _depth_anything,
    "depth_pro": lambda config: DepthKind.METRIC,
    "dpt": _dpt,
    "glpn": lambda config: DepthKind.METRIC,
    # Without its low-resolution prompt the range is unknown: depth up to scale and shift, larger is farther.
    "prompt_depth_anything": lambda config: DepthKind.RELATIVE,
    "tipsv2_dpt": lambda config: DepthKind.METRIC,
    "zoedepth": lambda config: DepthKind.METRIC,
}


def head_kind(config: Any, override: DepthKind | None, name: str) -> DepthKind:
    """The kind of map a checkpoint gives.

    Args:
        config: its transformers config.
        override: the user's word. It decides for DPT, which a config cannot settle, and for model types not known
            here; it may not contradict the others.
        name: for messages.

    Raises:
        SdvlmError: not a depth head, an unknown one without ``override``, or a contradiction.
    """
    model_type = config.model_type
    if model_type == "chmv2":
        raise SdvlmError(f"{name}: CHMv2 gives canopy height seen from satellites, not depth; choose another estimator")
    rule = _KINDS.get(model_type)
    if rule is None:
        if override is None:
            raise SdvlmError(f"{name}: what {model_type} puts out is not known here; pass kind= (metric or disparity)")
        return override
    known = rule(config)
    if override is not None and override is not known and model_type != "dpt":
        raise SdvlmError(f"{name}: this {model_type} checkpoint gives {known} depth, not {override}; leave kind out")
    return override or known


def focal_from_fov(fov_x_deg: float, width: int) -> float:
    """Focal length in pixels of a horizontal field of view over ``width`` pixels.

    Raises:
        SdvlmError: the model's field of view makes no camera.
    """
    if not 1.0 <= fov_x_deg <= 179.0:
        raise SdvlmError(
            f"the estimator predicts a field of view of {fov_x_deg:.1f} degrees, which makes no camera; give the camera"
        )
    return 0.5 * width / math.tan(math.radians(fov_x_deg) / 2)


def depth_from_inverse(
    inverse: Tensor, fov_x_deg: float | None, camera: Camera | None, name: str
) -> tuple[Tensor, Camera]:
    """Depth Pro's canonical inverse depth to metres: ``z = f / (W * inverse)``.

    Transformers' own post-processing knows the predicted field of view only; a known focal length is better.

    Args:
        inverse: (H, W) at the picture's size.
        fov_x_deg: predicted horizontal field of view, None if the checkpoint has no such head.
        camera: the known camera of the picture, None if unknown.
        name: for messages.

    Returns:
        (H, W) metres, NaN beyond 10 km (sky), and the camera they hold for.
    """
    height, width = inverse.shape
    if camera is None:
        if fov_x_deg is None:
            raise SdvlmError(f"{name}: has no field-of-view head, so metres need the camera; give cameras=")
        focal = focal_from_fov(fov_x_deg, width)
        camera = Camera(width, height, focal, focal, width / 2, height / 2)
    depth = camera.fx / (width * inverse)
    return torch.where(inverse * width / camera.fx > _MIN_INVERSE, depth, torch.nan), camera
