"""The toy task as frames and questions, so that the controls that ask can run on a trained toy model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sdvlm.data.schema import AnswerKind, TypedAnswer
from sdvlm.eval.controls import ControlSample
from sdvlm.eval.toy import CAMERA, Task, ToyBatch, answer_logits
from sdvlm.eval.toy_inputs import CELLS, PATCH
from sdvlm.fusion.pool import pool_depth
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap, RgbdFrame

__all__ = ["BOXES", "QUESTIONS", "ToyAnswerer", "control_samples"]

QUESTIONS: dict[Task, str] = {
    "ordinal": "Is the red patch nearer than the blue one?",
    "absolute": "Is the red patch nearer than 3 metres?",
}
BOXES = np.array([[x, y, x + 1, y + 1] for y in range(CELLS) for x in range(CELLS)], dtype=np.float64) * PATCH
"""(16, 4) pixels each image token looks at"""


def control_samples(batch: ToyBatch, task: Task) -> list[ControlSample]:
    """Each picture of a batch as a frame with a depth map and a camera, its question and its answer."""
    samples = []
    for pixels, z, nearer in zip(batch.pixels, batch.z, batch.nearer, strict=True):
        image = ((pixels.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        depth = DepthMap(np.kron(z.reshape(CELLS, CELLS).numpy(), np.ones((PATCH, PATCH), np.float32)))
        truth = TypedAnswer(AnswerKind.YES_NO, ("yes" if nearer else "no",))
        samples.append(ControlSample(RgbdFrame(image, depth, CAMERA, name="toy"), QUESTIONS[task], truth))
    return samples


@dataclass(frozen=True)
class ToyAnswerer:
    """A trained toy model as an ``Answerer``: it knows one question and answers it, whatever is asked."""

    model: DepthVLM

    @torch.no_grad()
    def __call__(self, frame: RgbdFrame, questions: Sequence[str]) -> list[TypedAnswer | None]:
        """Yes or no for a 16 x 16 frame."""
        pixels = torch.from_numpy(frame.image).permute(2, 0, 1)[None].float() / 127.5 - 1
        grid = None if frame.depth is None else pool_depth(frame.depth, BOXES, frame.size, frame.camera).pack()
        yes = bool(answer_logits(self.model, pixels, grid).argmax())
        return [TypedAnswer(AnswerKind.YES_NO, ("yes" if yes else "no",))] * len(questions)
