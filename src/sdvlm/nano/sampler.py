"""Draws training steps: pictures, their depth as it is shown this time, and questions about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sdvlm.nano.depth_changes import drop_depth, scale_depth, scale_lengths, scaled_targets, worsen_depth
from sdvlm.nano.encode import encode_frame
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.numbers import NumberTokens
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
        batches: questions, the same number of every picture in each.
    """

    indices: list[int]
    depth: Tensor
    batches: list[QuestionRows]


class Sampler:
    """Draws pictures and their questions; a frame is encoded when it is first drawn."""

    def __init__(self, frames: list[NanoFrame], tokenizer: Tokenizer, recipe: Recipe, stream: int) -> None:
        self.frames, self.tokenizer, self.recipe = frames, tokenizer, recipe
        self.rng = np.random.default_rng([recipe.seed, stream])
        self.usable = [index for index, frame in enumerate(frames) if len(frame.questions) >= FEWEST_QUESTIONS]
        self.encoded: dict[int, tuple[list[EncodedQuestion], Targets]] = {}
        self.numbers = NumberTokens(tokenizer)

    def draw(self) -> Drawn:
        """The next step's data."""
        recipe = self.recipe
        chosen = [self.usable[i] for i in self.rng.integers(len(self.usable), size=recipe.pictures)]
        shown = [self._picture(index) for index in chosen]
        depth = torch.stack([packed for packed, _, _ in shown])
        questions = [[(question, targets) for question in drawn] for _, drawn, targets in shown]
        return Drawn(chosen, depth, self._like_lengths(questions))

    def _picture(self, index: int) -> tuple[Tensor, list[EncodedQuestion], Targets]:
        recipe, rng = self.recipe, self.rng
        if index not in self.encoded:
            self.encoded[index] = encode_frame(self.frames[index], self.tokenizer)
        questions, targets = self.encoded[index]
        packed = torch.from_numpy(self.frames[index].depth)
        if rng.random() < recipe.depth_dropout:
            packed = drop_depth(packed)
        else:
            if rng.random() < recipe.scaled_depth:
                factor = float(np.exp(rng.uniform(-1, 1) * np.log(recipe.largest_scale)))
                scaled = [scale_lengths(question, factor, self.numbers) for question in questions]
                questions = [question for question in scaled if question is not None]
                packed, targets = scale_depth(packed, factor), scaled_targets(targets, factor)
            if rng.random() < recipe.noisy_depth:
                packed = worsen_depth(packed, rng)
        picked = rng.choice(len(questions), recipe.questions, replace=len(questions) < recipe.questions)
        return packed, sorted((questions[i] for i in picked), key=lambda question: len(question.ids)), targets

    def _like_lengths(self, questions: list[list[tuple[EncodedQuestion, Targets]]]) -> list[QuestionRows]:
        """Each picture's questions, in order of length, cut into as many batches; every batch holds all pictures."""
        pad, buckets = special_id(self.tokenizer, "<pad>"), self.recipe.buckets
        size = len(questions[0]) // buckets
        batches = []
        for start in range(0, size * buckets, size):
            cut = [pair for of_picture in questions for pair in of_picture[start : start + size]]
            batches.append(collate_rows([q for q, _ in cut], [t for _, t in cut], pad, self.numbers))
        return batches
