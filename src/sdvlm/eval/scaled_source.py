"""Built data whose pictures are of another scale than they look: what only depth can tell.

A picture alone tells much about metres: chairs have usual heights, cameras usual places. Here all depth and all true
lengths of a picture are multiplied by a factor that the picture does not show, at least 1.35 either way, so that an
answer which goes by the picture alone is wrong by more than the strict rule forgives. Counts, places, names and
comparisons keep their answers.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from sdvlm.data.columns import Row as BuiltRow
from sdvlm.data.columns import sample_of
from sdvlm.data.scaled_question import scaled_question
from sdvlm.data.schema import QuestionSample
from sdvlm.eval.built_source import BuiltSource, look_at
from sdvlm.eval.perturb import with_scaled_depth
from sdvlm.eval.run_source import Look

__all__ = ["LARGEST_SCALE", "SMALLEST_SCALE", "ScaledSource", "scale_of"]

SMALLEST_SCALE, LARGEST_SCALE = 1.35, 2.0
"""factors of scaled pictures, up or down: an answer that ignores a factor above 1.25 is wrong"""


def scale_of(image_id: str) -> float:
    """The factor of a picture, always the same: log-uniform between the two scales, or between their inverses."""
    seed = hashlib.blake2b(image_id.encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "big"))
    size = rng.uniform(math.log(SMALLEST_SCALE), math.log(LARGEST_SCALE))
    return math.exp(size if rng.random() < 0.5 else -size)


class ScaledSource(BuiltSource):
    """Questions of built data about its pictures at another scale; those with a length that would not fit
    (``data.scaled_question``) are left out. Arguments as for :class:`BuiltSource`."""

    @property
    def facts(self) -> dict[str, Any]:
        """Of the data, and between which factors it is scaled."""
        return super().facts | {"scaled": [SMALLEST_SCALE, LARGEST_SCALE]}

    def _samples(self, built: BuiltRow) -> list[QuestionSample]:
        factor = scale_of(built["image_id"])
        scaled = [scaled_question(sample_of(one), factor) for one in built["questions"]]
        return [one for one in scaled if one is not None]

    def _look(self, built: BuiltRow) -> Look:
        plain, factor = look_at(built), scale_of(built["image_id"])
        return lambda: with_scaled_depth(plain(), factor)
