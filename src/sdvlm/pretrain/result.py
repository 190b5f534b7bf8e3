"""What a run comes to: ``OUT/result.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = ["RESULT", "PretrainResult", "read_result"]

RESULT = "result.json"


@dataclass(frozen=True)
class PretrainResult:
    """A finished run.

    Args:
        out: its folder; ``encoder/`` in it is what ``DepthEncoder.from_pretrained`` loads.
        config: settings, as plain values.
        data: which pairs: folder's digest, pairs trained on, pairs held out, scenes.
        steps: done.
        start: figures of the evaluation before the first step.
        final: figures of the last evaluation.
        faults: what the watch said at any time, by kind, with the step it was said at first.
        rgb: the probes' R2 on the frozen RGB tower's own features, for comparison; at random scales it cannot know.
        parameters: of the depth encoder.
        train_seconds: of optimiser steps, without evaluations; over all parts of a resumed run.
        pairs_per_second: trained on in that time.
        cached_pairs: RGB pictures encoded by this call for the cache; 0 where all were there.
    """

    out: Path
    config: dict[str, Any]
    data: dict[str, Any]
    steps: int
    start: dict[str, float]
    final: dict[str, float]
    faults: dict[str, str] = field(default_factory=dict)
    rgb: dict[str, float] = field(default_factory=dict)
    parameters: int = 0
    train_seconds: float = 0.0
    pairs_per_second: float = 0.0
    cached_pairs: int = 0

    @property
    def encoder(self) -> Path:
        """Folder of the trained encoder."""
        return self.out / "encoder"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"out": str(self.out), "encoder": str(self.encoder)}

    def write(self) -> None:
        """To ``OUT/result.json``, whole or not at all."""
        with atomic_file(self.out / RESULT) as stream:
            stream.write(json.dumps(self.to_dict(), indent=2, sort_keys=True).encode() + b"\n")


def read_result(out: Path) -> PretrainResult:
    """The result of a finished run.

    Raises:
        SdvlmError: there is none, or it is damaged.
    """
    path = out / RESULT
    if not path.is_file():
        raise SdvlmError(
            f"{out}: holds no {RESULT}, so it is no finished run of sdvlm pretrain; run it again to finish it"
        )
    try:
        values = json.loads(path.read_bytes())
        values.pop("encoder")
        return PretrainResult(**values | {"out": out})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SdvlmError(f"{path}: is damaged ({type(error).__name__}: {error}); run sdvlm pretrain again") from error
