"""Random changes of an RGB-D pair, and what each does to the meaning of its metres.

Everything is off unless it is asked for. Picture, depth, validity and camera change together (:mod:`sdvlm.pairs.warp`),
so z stays true for every point; what may break is said by :class:`Applied`: a mirrored scene exchanges left and right,
a roll tilts gravity, and a crop or a resize changes how large things look, which only the camera tells from distance.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sdvlm.geometry.transform import crop, resize
from sdvlm.pairs.record import Pair
from sdvlm.pairs.warp import flip, quarter_turn, rotate, transform
from sdvlm.types import DepthKind, SdvlmError

__all__ = ["Applied", "AugmentConfig", "augment"]


@dataclass(frozen=True)
class AugmentConfig:
    """What may happen to a pair, in this order.

    Args:
        flip: probability of exchanging left and right.
        quarter_turn: probability of a turn by 90, 180 or 270 degrees.
        rotate_degrees: a turn by an angle drawn evenly from -this to +this; at most 45.
        crop: smallest and largest share of width and height that is kept (the same of both), at a random place.
        scale: smallest and largest factor the size is multiplied by, drawn evenly in its logarithm.

    Raises:
        SdvlmError: a probability or range makes no sense.
    """

    flip: float = 0.0
    quarter_turn: float = 0.0
    rotate_degrees: float = 0.0
    crop: tuple[float, float] = (1.0, 1.0)
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("flip", "quarter_turn"):
            if not 0 <= getattr(self, name) <= 1:
                raise SdvlmError(f"{name} is a probability, 0 to 1; got {getattr(self, name)}")
        if not 0 <= self.rotate_degrees <= 45:
            raise SdvlmError(f"rotate_degrees lies in 0..45, larger turns are quarter turns; got {self.rotate_degrees}")
        for name, most in (("crop", 1.0), ("scale", 8.0)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise SdvlmError(f"{name} is a range with 0 < smallest <= largest <= {most:g}; got {low} to {high}")
            object.__setattr__(self, name, (float(low), float(high)))

    @property
    def anything(self) -> bool:
        """Whether a pair can change at all."""
        return self != AugmentConfig()


@dataclass(frozen=True)
class Applied:
    """What happened to a pair.

    Args:
        mirrored: left and right are exchanged.
        quarter_turns: turns by 90 degrees counter-clockwise, 0 to 3.
        degrees: further turn, clockwise.
        crop: the window kept, (left, top, right, bottom) pixels after the turns; None: all.
        scale: factor of the size after that.
        camera: whether the pair has a camera, which followed.
        kind: of the depth.
    """

    mirrored: bool = False
    quarter_turns: int = 0
    degrees: float = 0.0
    crop: tuple[int, int, int, int] | None = None
    scale: float = 1.0
    camera: bool = False
    kind: DepthKind = DepthKind.METRIC

    @property
    def keeps_metres(self) -> bool:
        """Whether the metres follow from picture and camera as they did: not if the picture was cropped or resized
        while nobody knows its camera; and there are none in depth that is not metric."""
        zoomed = self.crop is not None or self.scale != 1
        return self.kind is DepthKind.METRIC and (self.camera or not zoomed)

    @property
    def keeps_gravity(self) -> bool:
        """Whether down in the picture is down in the world as much as it was."""
        return not self.quarter_turns and not self.degrees

    def effects(self) -> tuple[str, ...]:
        """What to know before using the pair, a sentence each; empty if nothing happened."""
        told = []
        if self.mirrored:
            told.append("mirrored: left and right are exchanged, so is all text; distances are true")
        if not self.keeps_gravity:
            told.append("turned about the optical axis: distances are true, above and below are not")
        if self.crop is not None:
            told.append("cropped: distances are true, the field of view is smaller")
        if self.scale != 1:
            told.append("resized: distances are true, the focal length in pixels changed with the size")
        if self.kind is DepthKind.METRIC and not self.keeps_metres:
            told.append("no camera: how large things look no longer tells their distance in metres")
        return tuple(told)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, with ``keeps_metres`` and ``keeps_gravity``."""
        verdicts = {"keeps_metres": self.keeps_metres, "keeps_gravity": self.keeps_gravity}
        return asdict(self) | {"kind": str(self.kind)} | verdicts


def augment(pair: Pair, rng: np.random.Generator, config: AugmentConfig) -> tuple[Pair, Applied]:
    """A changed pair of the same id, and what happened; the same for the same generator state.

    Args:
        pair: is not changed.
        rng: the only source of chance; as many numbers are drawn whatever happens.
        config: what may happen.
    """
    mirror, turned, turns, angle, share, x, y, factor = rng.random(8).tolist()
    mirrored = mirror < config.flip
    quarter = 1 + int(3 * turns) if turned < config.quarter_turn else 0
    degrees = (2 * angle - 1) * config.rotate_degrees
    pair = flip(pair) if mirrored else pair
    pair = quarter_turn(pair, quarter) if quarter else pair
    pair = rotate(pair, degrees) if degrees else pair
    window = _window(pair.size, config.crop, share, x, y)
    pair = transform(pair, crop(pair.size, window)) if window is not None else pair
    target, scale = _scaled(pair.size, config.scale, factor)
    pair = transform(pair, resize(pair.size, target)) if target != pair.size else pair
    return pair, Applied(mirrored, quarter, degrees, window, scale, pair.camera is not None, pair.depth.kind)


def _window(
    size: tuple[int, int], span: tuple[float, float], share: float, x: float, y: float
) -> tuple[int, int, int, int] | None:
    """A window of the picture's shape at a random place; None if it is the whole picture."""
    part = span[0] + share * (span[1] - span[0])
    width, height = (max(1, round(side * part)) for side in size)
    if (width, height) == size:
        return None
    left, top = int(x * (size[0] - width + 1)), int(y * (size[1] - height + 1))
    return left, top, left + width, top + height


def _scaled(size: tuple[int, int], span: tuple[float, float], factor: float) -> tuple[tuple[int, int], float]:
    """The size to resize to and the factor of it; unchanged where rounding leaves the size as it is."""
    low, high = math.log(span[0]), math.log(span[1])
    scale = math.exp(low + factor * (high - low))
    target = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return target, 1.0 if target == size else scale
