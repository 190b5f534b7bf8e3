"""What a step shows: pictures, how their depth is shown this time, and questions. The same for every cell of a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdvlm.ablation.config import AblationConfig
from sdvlm.data.scaled_question import scaled_question
from sdvlm.data.schema import QuestionSample

__all__ = ["Drawn", "Draws"]

FEWEST_QUESTIONS = 4
"""pictures with fewer questions are not drawn"""


@dataclass(frozen=True)
class Drawn:
    """One picture of a step.

    Args:
        index: of the picture.
        factor: its depth and the lengths of its questions are multiplied by it.
        depth: whether it is shown with depth; without, the factor is 1.
        questions: drawn ones, shortest first, lengths multiplied.
    """

    index: int
    factor: float
    depth: bool
    questions: tuple[QuestionSample, ...]


class Draws:
    """An endless stream of steps, decided by its generator alone.

    Args:
        questions: of each picture.
        config: how many, and what is done to depth.
        stream: numbers that tell this stream from others.
    """

    def __init__(
        self, questions: list[tuple[QuestionSample, ...]], config: AblationConfig, stream: tuple[int, ...]
    ) -> None:
        self.config = config
        self.questions = [[one for one in asked if scaled_question(one, 1.0) is not None] for asked in questions]
        self.usable = [index for index, asked in enumerate(self.questions) if len(asked) >= FEWEST_QUESTIONS]
        self.rng = np.random.default_rng([config.seed, *stream])

    def draw(self) -> list[Drawn]:
        """The pictures of the next step."""
        chosen = self.rng.integers(len(self.usable), size=self.config.pictures)
        return [self._picture(self.usable[index]) for index in chosen]

    def _picture(self, index: int) -> Drawn:
        config, rng = self.config, self.rng
        asked, factor, depth = self.questions[index], 1.0, bool(rng.random() >= config.dropout)
        if depth and rng.random() < config.scaled_share:
            factor = float(np.exp(rng.uniform(-1, 1) * np.log(config.largest_scale)))
            scaled = [scaled_question(one, factor) for one in asked]
            asked = [one for one in scaled if one is not None]
            if not asked:
                asked, factor = self.questions[index], 1.0
        picked = rng.choice(len(asked), config.questions, replace=len(asked) < config.questions)
        drawn = sorted((asked[i] for i in picked), key=lambda one: len(one.question) + len(one.answer))
        return Drawn(index, factor, depth, tuple(drawn))
