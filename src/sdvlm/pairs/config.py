"""How pairs are made: where depth comes from, what is refused, what is changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from sdvlm.depth.estimator import DEFAULT_ESTIMATOR
from sdvlm.pairs.augment import AugmentConfig
from sdvlm.types import DepthKind, SdvlmError

__all__ = ["DepthFrom", "PairsConfig"]

DepthFrom = Literal["auto", "sensor", "estimated"]
_MIN_SIDE = 16


@dataclass(frozen=True)
class PairsConfig:
    """Settings of a build of pairs.

    Raises:
        SdvlmError: a setting is out of range.
    """

    depth: DepthFrom = "auto"
    """``auto``: the source's own depth where it has some, else estimated; ``sensor``: pictures without depth are
    refused; ``estimated``: for every picture, whatever the source has"""
    estimator: str = DEFAULT_ESTIMATOR
    """as :func:`sdvlm.depth.estimator.load_estimator` takes it; loaded once by each worker, when a picture needs it"""
    revision: str | None = None
    """of the estimator on the hub"""
    kind: DepthKind | None = None
    """what the estimator's maps mean, where its config does not tell"""
    dtype: str = "float32"
    """of the estimator's weights while running"""
    device: str | None = None
    """torch device of the estimator; None: cuda if there is one"""
    batch_size: int | None = None
    """pictures a forward pass of the estimator, where they have one size; None: 8 on an accelerator, 2 on a CPU, where
    larger batches only leave its caches"""
    chunk: int = 64
    """pictures a worker gets at once, which are one part on disk: what an interruption costs"""
    max_side: int | None = 1024
    """pixels of the longer side; larger pictures are shrunk, with depth and camera; None: never"""
    quality: int = 95
    """of the JPEG that pictures are stored as which cannot be stored as they came; 0: PNG, lossless"""
    dedupe: int | None = 4
    """pictures whose perceptual hashes differ in at most so many of 64 bits are one; None: all are kept"""
    min_valid: float = 0.01
    """share of pixels whose depth must be known; at least one pixel in any case"""
    copies: int = 0
    """augmented copies of each training pair, beside the pair itself"""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """what may happen to the copies"""
    test_share: float = 0.1
    """share of the scenes held out, or of the pictures where the source has no scenes"""
    seed: int = 0
    """decides the split and the augmentation"""

    def __post_init__(self) -> None:
        if self.depth not in get_args(DepthFrom):
            raise SdvlmError(f"depth must be one of {', '.join(get_args(DepthFrom))}; got '{self.depth}'")
        for name, value in (("batch_size", self.batch_size), ("chunk", self.chunk)):
            if value is not None and value < 1:
                raise SdvlmError(f"{name} must be at least 1; got {value}")
        if self.max_side is not None and self.max_side < _MIN_SIDE:
            raise SdvlmError(f"max_side must be at least {_MIN_SIDE} pixels; got {self.max_side}")
        if not 0 <= self.quality <= 100:
            raise SdvlmError(f"quality lies in 0..100, 0 being PNG; got {self.quality}")
        for name in ("min_valid", "test_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SdvlmError(f"{name} is a share, 0 to 1; got {getattr(self, name)}")
        if self.dedupe is not None and not 0 <= self.dedupe <= 15:
            raise SdvlmError(f"dedupe is a distance of 0 to 15 bits; got {self.dedupe}")
        if self.copies < 0 or self.seed < 0:
            raise SdvlmError(f"copies and seed must not be negative; got {self.copies} and {self.seed}")
        if self.copies and not self.augment.anything:
            raise SdvlmError("copies would be all alike; say what may happen to them (flip, rotate, crop, scale)")
        if self.augment.anything and not self.copies:
            raise SdvlmError("nothing is augmented without copies; set copies, or leave the augmentation out")

    def to_dict(self) -> dict[str, Any]:
        """What decides the result, as plain JSON values: all but device and batch size."""
        values = asdict(self) | {"kind": None if self.kind is None else str(self.kind)}
        return {name: value for name, value in values.items() if name not in ("device", "batch_size")}
