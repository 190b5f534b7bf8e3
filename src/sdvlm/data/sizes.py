"""Words that tell objects of one kind apart by their size: tallest and shortest, largest and smallest.

Of two candidates the comparative is used ("the larger box"), of more the superlative. Largest means larger in every
extent and by volume, so that no reading of the word picks another object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdvlm.data.observe import ObservedObject
from sdvlm.types import Box3D, SdvlmError

__all__ = ["SIZES", "SizeMargins", "size_words", "upright_extents"]

SIZES = ("tallest", "shortest", "largest", "smallest", "taller", "shorter", "larger", "smaller")
"""Size words, superlatives first; heights by the vertical extent, the others by the whole box."""


@dataclass(frozen=True)
class SizeMargins:
    """How much an object must exceed the next candidate."""

    min_height_ratio: float = 1.2
    """tallest, shortest: ratio of heights to the next candidate"""
    min_height_gap_m: float = 0.1
    """tallest, shortest: gap of heights to the next candidate"""
    min_volume_ratio: float = 1.5
    """largest, smallest: ratio of volumes to the next candidate; none of its extents is on the wrong side"""

    def __post_init__(self) -> None:
        if self.min_height_ratio < 1 or self.min_volume_ratio < 1 or self.min_height_gap_m < 0:
            raise SdvlmError("size margins must be at least 1 for ratios and 0 for the gap")


def size_words(seen: ObservedObject, candidates: Sequence[ObservedObject], margins: SizeMargins) -> list[str]:
    """Size words that single it out among the candidates, itself included."""
    others = [upright_extents(one.object.box) for one in candidates if one.id != seen.id]
    if not others:
        return []
    own = upright_extents(seen.object.box)
    heights, volumes = [one[2] for one in others], [float(np.prod(one)) for one in others]
    height, volume = own[2], float(np.prod(own))
    ratio, gap, bulk = margins.min_height_ratio, margins.min_height_gap_m, margins.min_volume_ratio
    applies = (
        height >= max(heights) * ratio and height >= max(heights) + gap,
        height * ratio <= min(heights) and height + gap <= min(heights),
        volume >= max(volumes) * bulk
        and all(mine >= theirs for one in others for mine, theirs in zip(own, one, strict=True)),
        volume * bulk <= min(volumes)
        and all(mine <= theirs for one in others for mine, theirs in zip(own, one, strict=True)),
    )
    words = SIZES[4:] if len(others) == 1 else SIZES[:4]
    return [word for word, true in zip(words, applies, strict=True) if true]


def upright_extents(box: Box3D) -> tuple[float, float, float]:
    """Longer and shorter horizontal extent and height, metres, whichever axis of the box is the most vertical."""
    vertical = int(np.argmax(np.abs(box.rotation[2])))
    flat = sorted(np.delete(box.size, vertical).tolist(), reverse=True)
    return flat[0], flat[1], float(box.size[vertical])
