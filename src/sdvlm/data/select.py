"""Which of the objects a frame sees are fit to be asked about, and why the others are not.

MSMU filters uncommon, occluded, truncated and ambiguous objects but publishes no thresholds; these are ours, each a
field. Ambiguous *names* are settled later, in :mod:`sdvlm.data.names`. What each is held against: docs/questions.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sdvlm.data.categories import STRUCTURE_CATEGORIES
from sdvlm.data.observe import Observation, ObservedObject
from sdvlm.types import SdvlmError

__all__ = ["SelectConfig", "Selection", "common_categories", "select"]


@dataclass(frozen=True)
class SelectConfig:
    """Thresholds. An object is dropped for the first reason that applies, in the order of the fields."""

    excluded_categories: frozenset[str] = STRUCTURE_CATEGORIES
    """structure: categories never asked about"""
    allowed_categories: frozenset[str] | None = None
    """uncommon: categories outside this set are dropped; None allows all (see :func:`common_categories`)"""
    max_tilt_deg: float = 5.0
    """tilted: the box's third axis leans more than this from the vertical, so its height is not its third extent; 180
    keeps all (then sizes are asked only of the upright ones, see ``QuestionConfig.gravity_known``)"""
    min_pixel_share: float = 0.001
    """small: fewer seen pixels than this share of the picture"""
    min_side_px: float = 6.0
    """small: bounding box of the seen pixels narrower or lower than this"""
    max_image_share: float = 0.75
    """large: seen pixels fill more than this share of the picture"""
    min_visibility: float = 0.5
    """occluded: seen over would-be-seen pixels below this"""
    max_truncation: float = 0.35
    """truncated: a larger share of its box than this lies outside the picture"""
    allow_border: bool = True
    """truncated: if False, also where one seen pixel lies on the edge of the picture"""
    min_distance_m: float = 0.3
    """near: box centre nearer to the camera than this"""
    max_distance_m: float = 15.0
    """far: box centre farther from the camera than this"""

    def __post_init__(self) -> None:
        for name in ("min_pixel_share", "max_image_share", "min_visibility", "max_truncation"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise SdvlmError(f"{name} is a share between 0 and 1; got {value}")


@dataclass(frozen=True, eq=False)
class Selection:
    """The outcome for one frame.

    Args:
        observation: what the frame sees.
        kept: objects fit to be asked about.
        dropped: instance ids by reason (the first word of the field's docstring in :class:`SelectConfig`).
    """

    observation: Observation
    kept: tuple[ObservedObject, ...]
    dropped: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many were kept, and how many dropped for each reason."""
        return {"kept": len(self.kept)} | {reason: len(ids) for reason, ids in self.dropped.items()}


def select(observation: Observation, config: SelectConfig | None = None) -> Selection:
    """Sort the seen objects of a frame into kept and dropped."""
    config = config or SelectConfig()
    upright = float(np.cos(np.radians(config.max_tilt_deg)))
    kept: list[ObservedObject] = []
    dropped: dict[str, list[int]] = {}
    for seen in observation.objects:
        reason = _reason(seen, observation.camera.width * observation.camera.height, config, upright)
        if reason is None:
            kept.append(seen)
        else:
            dropped.setdefault(reason, []).append(seen.id)
    return Selection(observation, tuple(kept), {reason: tuple(ids) for reason, ids in dropped.items()})


def common_categories(categories: Iterable[str], min_count: int) -> frozenset[str]:
    """Categories that occur at least ``min_count`` times: an ``allowed_categories`` for :class:`SelectConfig`.

    To count scenes rather than instances, chain the set of categories of each scene.
    """
    counts: dict[str, int] = {}
    for category in categories:
        counts[category] = counts.get(category, 0) + 1
    return frozenset(category for category, count in counts.items() if count >= min_count)


def _reason(seen: ObservedObject, image_pixels: int, config: SelectConfig, upright: float) -> str | None:
    """Why the object is dropped, None if it is kept."""
    x0, y0, x1, y1 = seen.bounds_px
    x, y, z = seen.center_cam
    distance = (x * x + y * y + z * z) ** 0.5
    checks = (
        ("structure", seen.category in config.excluded_categories),
        ("uncommon", config.allowed_categories is not None and seen.category not in config.allowed_categories),
        ("tilted", seen.object.box.rotation[2, 2] < upright),
        ("small", seen.pixel_count < config.min_pixel_share * image_pixels),
        ("small", min(x1 - x0, y1 - y0) < config.min_side_px),
        ("large", seen.pixel_count > config.max_image_share * image_pixels),
        ("occluded", seen.visibility < config.min_visibility),
        ("truncated", seen.truncation > config.max_truncation),
        ("truncated", seen.touches_border and not config.allow_border),
        ("near", distance < config.min_distance_m or z <= 0),
        ("far", distance > config.max_distance_m),
    )
    return next((reason for reason, applies in checks if applies), None)
