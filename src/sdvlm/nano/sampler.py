"""Draws training steps: pictures, their depth as it is shown this time, and questions about them.

A step's draw depends on the recipe and the step's number alone: a run that goes on draws what it would have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sdvlm.nano.depth_changes import (
    drop_depth,
    scale_depth,
    scale_lengths,
    scale_planes,
    scaled_targets,
    worsen_depth,
    worsen_planes,
)
from sdvlm.nano.encode import FrameEncoder
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.recipe import Recipe
from sdvlm.nano.rows import EncodedQuestion, QuestionRows, Targets, collate_rows
from sdvlm.nano.tokenizer import special_id

__all__ = ["Drawn", "Sampler"]

FEWEST_QUESTIONS = 8
"""pictures with fewer questions are not drawn"""


@dataclass(frozen=True)
class Drawn:
    """One step's data. B pictures of N tokens.

    Args:
        indices: the B frames.
        depth: (B, N, C) packed depth grids.
        planes: (B, P, S, S) planes of the depth maps, zero where there is none.
        batches: questions, the same number of every picture in each.
    """

    indices: list[int]
    depth: Tensor
    planes: Tensor
    batches: list[QuestionRows]

    def to(self, device: torch.device) -> Drawn:
        """The same on a device."""
        batches = [
            replace(rows, **{one.name: getattr(rows, one.name).to(device) for one in fields(rows)})
            for rows in self.batches
        ]
        return replace(self, depth=self.depth.to(device), planes=self.planes.to(device), batches=batches)


class Sampler:
    """Draws pictures and their questions.

    Args:
        frames: of the training rooms.
        tokenizer: nano's.
        recipe: says how many, and how depth is shown.
        stream: of random numbers; each stage has its own.
    """

    def __init__(self, frames: list[NanoFrame], tokenizer: Tokenizer, recipe: Recipe, stream: int) -> None:
        self.frames, self.tokenizer, self.recipe, self.stream = frames, tokenizer, recipe, stream
        self.usable = [index for index, frame in enumerate(frames) if len(frame.questions) >= FEWEST_QUESTIONS]

    def draw(self, step: int) -> Drawn:
        """The data of a step."""
        recipe, rng = self.recipe, np.random.default_rng([self.recipe.seed, self.stream, step])
        chosen = [self.usable[i] for i in rng.integers(len(self.usable), size=recipe.pictures)]
        shown = [self._picture(index, rng) for index in chosen]
        depth = torch.stack([packed for packed, _, _, _ in shown])
        planes = torch.stack([one for _, one, _, _ in shown])
        questions = [[(question, targets) for question in drawn] for _, _, drawn, targets in shown]
        return Drawn(chosen, depth, planes, self._like_lengths(questions))

    def _picture(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[EncodedQuestion], Targets]:
        """Packed grid and planes as they are shown this time, questions, and what their names mean."""
        recipe, frame = self.recipe, self.frames[index]
        encoder = FrameEncoder(frame, self.tokenizer)
        packed, planes, factor = torch.from_numpy(frame.depth), torch.from_numpy(frame.planes).float(), 1.0
        if rng.random() < recipe.depth_dropout:
            packed, planes = drop_depth(packed), torch.zeros_like(planes)
        else:
            if rng.random() < recipe.scaled_depth:
                factor = float(np.exp(rng.uniform(-1, 1) * np.log(recipe.largest_scale)))
                packed, planes = scale_depth(packed, factor), scale_planes(planes, factor)
            if rng.random() < recipe.noisy_depth:
                packed, planes = worsen_depth(packed, rng), worsen_planes(planes, rng)
        asked = self._questions(frame, factor, rng)
        encoded = sorted((encoder.encode(question) for question in asked), key=lambda question: len(question.ids))
        return packed, planes, encoded, scaled_targets(encoder.targets, factor)

    def _questions(self, frame: NanoFrame, factor: float, rng: np.random.Generator) -> list[dict[str, Any]]:
        """As many as the recipe asks, different ones as far as there are, with their lengths multiplied."""
        asked: list[dict[str, Any]] = []
        while len(asked) < self.recipe.questions:
            for index in rng.permutation(len(frame.questions)):
                question = frame.questions[index] if factor == 1 else scale_lengths(frame.questions[index], factor)
                if question is not None and len(asked) < self.recipe.questions:
                    asked.append(question)
                if len(asked) == self.recipe.questions:
                    break
        return asked

    def _like_lengths(self, questions: list[list[tuple[EncodedQuestion, Targets]]]) -> list[QuestionRows]:
        """Each picture's questions, in order of length, cut into as many batches; every batch holds all pictures."""
        pad, buckets = special_id(self.tokenizer, "<pad>"), self.recipe.buckets
        size = len(questions[0]) // buckets
        batches = []
        for start in range(0, size * buckets, size):
            cut = [pair for of_picture in questions for pair in of_picture[start : start + size]]
            batches.append(collate_rows([q for q, _ in cut], [t for _, t in cut], pad))
        return batches
