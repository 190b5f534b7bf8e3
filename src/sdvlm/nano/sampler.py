"""Draws training steps: pictures, their depth as it is shown this time, and questions about them.

A step's draw depends on the recipe and the step's number alone: a run that goes on draws what it would have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from sdvlm.nano.depth_changes import Showing, scale_lengths, scaled_targets
from sdvlm.nano.encode import FrameEncoder
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.invented_names import call_by_invented_name, most_prominent
from sdvlm.nano.noisy_wording import noisy_wording
from sdvlm.nano.recipe import Recipe
from sdvlm.nano.reference_unit import reference_in_metres
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
        self._by_length = [by_length(frame, tokenizer) for frame in frames]

    def draw(self, step: int) -> Drawn:
        """The data of a step."""
        recipe, rng = self.recipe, np.random.default_rng([self.recipe.seed, self.stream, step])
        chosen = [self.usable[i] for i in rng.integers(len(self.usable), size=recipe.pictures)]
        places = (np.arange(recipe.questions) + rng.random(recipe.questions)) / recipe.questions
        shown = [self._picture(index, places, rng) for index in chosen]
        depth = torch.stack([packed for packed, _, _, _ in shown])
        planes = torch.stack([one for _, one, _, _ in shown])
        questions = [[(question, targets) for question in drawn] for _, _, drawn, targets in shown]
        return Drawn(chosen, depth, planes, self._like_lengths(questions))

    def _picture(
        self, index: int, places: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, list[EncodedQuestion], Targets]:
        """Packed grid and planes as they are shown this time, questions, and what their names mean."""
        recipe, frame = self.recipe, self.frames[index]
        encoder = FrameEncoder(frame, self.tokenizer)
        shown = Showing.draw(recipe, rng)
        asked = self._questions(index, places, shown.factor)
        if len(asked) < len(places):  # none of the picture's questions can be asked at that scale
            shown = replace(shown, factor=1.0)
            asked = self._questions(index, places, 1.0)
        packed = shown.grid(torch.from_numpy(frame.depth), rng)
        planes = shown.planes(torch.from_numpy(frame.planes).float(), rng)
        prominent = most_prominent(frame)
        encoded = []
        for question in asked:
            if rng.random() < recipe.invented_names:
                question = call_by_invented_name(question, frame, prominent, rng)
            if rng.random() < recipe.metric_reference:
                question = reference_in_metres(question)
            if rng.random() < recipe.noisy_wording:
                question = noisy_wording(question, rng)
            encoded.append(encoder.encode(question))
        return packed, planes, encoded, scaled_targets(encoder.targets, shown.factor)

    def _questions(self, index: int, places: NDArray[np.float64], factor: float) -> list[dict[str, Any]]:
        """The picture's questions at these places, 0..1, of their order by length, with their lengths multiplied.

        Every picture of a step is asked at the same places: those asked in one batch are about as long. A question
        whose lengths cannot be multiplied gives way to the next longer one.
        """
        ordered = self._by_length[index]
        asked = []
        for place in places:
            for step in range(len(ordered)):
                question = ordered[(int(place * len(ordered)) + step) % len(ordered)]
                scaled = question if factor == 1 else scale_lengths(question, factor)
                if scaled is not None:
                    asked.append(scaled)
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


def by_length(frame: NanoFrame, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The questions of a frame, those of the fewest tokens first, answers counted in."""
    said = tokenizer.encode_batch_fast([f"{one['question']} {one['answer']}" for one in frame.questions])
    lengths = [len(text.ids) for text in said]
    return [frame.questions[index] for index in np.argsort(lengths, kind="stable")]
