"""What an ablation is run with; equal for all its cells."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["AblationConfig"]

_SHARES = ("scaled_share", "dropout")
_POSITIVE = (
    "seeds", "train_rooms", "frames_per_room", "test_questions", "questions_per_frame", "base_steps", "steps",
    "pictures", "questions", "buckets", "lr", "base_lr", "estimator_steps",
)  # fmt: skip


@dataclass(frozen=True)
class AblationConfig:
    """Data, training and test of every cell.

    Raises:
        SdvlmError: a number that makes no sense.
    """

    seeds: int = 3
    """runs of every cell; each has its own fresh fusion and its own order of the data, the same for all cells"""
    train_rooms: int = 256
    """procedural rooms to learn from"""
    frames_per_room: int = 6
    """pictures of each"""
    questions_per_frame: int = 40
    """questions kept of each picture"""
    test_questions: int = 640
    """questions about held-out rooms, the eight families alike as far as it goes"""
    questions_per_test_frame: int = 10
    """of each held-out picture, at most"""
    base_steps: int = 200
    """steps of the common stage without depth that every cell starts from"""
    base_lr: float = 1e-3
    """its peak learning rate"""
    steps: int = 300
    """steps of a cell"""
    lr: float = 1e-3
    """peak learning rate of a cell, for language model, projector and fusion"""
    pictures: int = 16
    """pictures a step"""
    questions: int = 4
    """questions of each picture in a step"""
    buckets: int = 2
    """batches of like length that a step's questions are cut into, to waste less padding"""
    scaled_share: float = 0.5
    """share of the pictures with depth whose depth and true lengths are multiplied by one factor"""
    largest_scale: float = 1.7
    """that factor lies between this and one over this, log-uniform"""
    smallest_test_scale: float = 1.3
    """at the test it is at least so far from 1, up or down, that an answer that ignores it is wrong"""
    dropout: float = 0.2
    """share of the training pictures shown without depth"""
    estimator_steps: int = 600
    """steps of the depth estimator on the tower's patch features"""
    weight_decay: float = 0.02
    """AdamW, matrices only"""
    warmup: float = 0.05
    """share of the steps in which the learning rate rises; then it falls as a cosine to a fiftieth"""
    dtype: str = "bfloat16"
    """of the arithmetic in training, by autocast: bfloat16 or float32; answers are always given in float32"""
    seed: int = 0
    """decides rooms, weights and order"""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise SdvlmError(f"the ablation setting {name} must be positive; got {value}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise SdvlmError(f"the ablation setting {name} must lie in 0..1; got {getattr(self, name)}")
        if self.questions % self.buckets:
            raise SdvlmError(f"questions must be a multiple of buckets; got {self.questions} and {self.buckets}")
        if not 1 < self.smallest_test_scale < self.largest_scale:
            raise SdvlmError(
                "smallest_test_scale must lie between 1 and largest_scale; "
                f"got {self.smallest_test_scale} and {self.largest_scale}"
            )
        if self.dtype not in ("bfloat16", "float32"):
            raise SdvlmError(f"dtype is bfloat16 or float32; got '{self.dtype}'")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def with_settings(self, given: dict[str, str]) -> AblationConfig:
        """The same with fields from text, as the command line gives them.

        Raises:
            SdvlmError: no such field, or a value of another type.
        """
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        values: dict[str, Any] = self.to_dict()
        for name, text in given.items():
            if name not in known:
                raise SdvlmError(f"no ablation setting '{name}'; there are {', '.join(known)}")
            try:
                values[name] = known[name](text)
            except ValueError:
                raise SdvlmError(f"{name} must be of type {known[name].__name__}; got '{text}'") from None
        return type(self)(**values)

    def digest(self, **more: Any) -> str:
        """Sixteen hex digits that differ where a setting does, but for the number of seeds: more may be added."""
        values = {name: value for name, value in self.to_dict().items() if name != "seeds"} | more
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
