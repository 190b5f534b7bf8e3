"""The fast way to a cell's loss is a way to compute, not another model: it is that of the real model and processor."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from sdvlm.ablation.cells import CELLS, Cell
from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.draw import Drawn
from sdvlm.ablation.learn import Learner
from sdvlm.ablation.materials import plain_model, pooled_depth, tower_features
from sdvlm.ablation.prefix import PrefixMaker
from sdvlm.ablation.rooms import Rooms
from sdvlm.ablation.run_cell import settings_of
from sdvlm.ablation.sources import true_depth
from sdvlm.data.scaled_question import scaled_question
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM

BY_NAME = {cell.name: cell for cell in CELLS}
FUSIONS = (
    "none", "depth_image", "depth_prompt", "depth_token_apart", "depth_token", "dpe", "sdvlm", "gated", "mlp",
    "pointmap", "encoder_add", "concat_apart", "concat", "adapter",
)  # fmt: skip


def made(folder: Path, cell: Cell, rooms: Rooms) -> PrefixMaker:
    plain, processor = plain_model(folder)
    features = tower_features(plain, rooms, dtype=torch.float32)
    torch.manual_seed(3)
    model = DepthVLM.from_vlm(plain.vlm, settings_of(cell))
    for parameter in [] if model.fusion is None else model.fusion.parameters():
        if not parameter.any():  # a fresh fusion may add nothing; this one has to matter
            torch.nn.init.normal_(parameter, std=0.5)
    kept = pooled_depth(processor, rooms) if cell.name == "pointmap" else None
    source = None if cell.fusion is None else true_depth(rooms, kept)
    return PrefixMaker(model, DepthProcessor.for_model(model, processor.processor), rooms, source, features)


def drawn(rooms: Rooms, factor: float) -> list[Drawn]:
    """Three pictures: with depth, without, and with depth and lengths multiplied."""
    shown = []
    for index, (by, depth) in enumerate(((1.0, True), (1.0, False), (factor, True))):
        asked = [scaled_question(one, by) for one in rooms.questions[index]]
        kept = sorted((one for one in asked if one is not None), key=lambda one: len(one.question))
        shown.append(Drawn(index, by, depth, tuple(kept[:4])))
    return shown


def separate_loss(maker: PrefixMaker, pictures: list[Drawn]) -> torch.Tensor:
    """Every question as a batch of one, through the processor and ``DepthVLM.forward``."""
    total, count = torch.zeros(()), 0
    for one in pictures:
        frame = maker.rooms.frame(one.index)
        depth = frame.depth.scaled(one.factor) if one.depth and maker.source is not None else None
        for question in one.questions:
            messages = [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question.question}]},
                {"role": "assistant", "content": question.answer},
            ]
            batch = maker.processor(messages, [frame.image], [depth], [frame.camera], labels=True)
            labels = batch.pop("labels")
            logits = maker.model(**batch).logits
            total = total + F.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum", ignore_index=-100)
            count += int((labels[0, 1:] != -100).sum())
    return total / count


@pytest.mark.parametrize("name", FUSIONS)
def test_the_loss_and_its_gradient_are_those_of_separate_samples(
    name: str, small_folder: Path, rooms: Rooms, toy: AblationConfig
) -> None:
    maker = made(small_folder, BY_NAME[name], rooms)
    pictures = drawn(rooms, 1.5)
    learner = Learner(maker, None, toy, 1e-3, 1)
    fast = learner.loss(pictures)
    fast_grads = torch.autograd.grad(fast, learner.parameters, allow_unused=True)
    learner.finish()
    slow = separate_loss(maker, pictures)
    slow_grads = torch.autograd.grad(slow, learner.parameters, allow_unused=True)

    torch.testing.assert_close(fast, slow, rtol=2e-5, atol=1e-6)
    compared = 0
    for one, other in zip(fast_grads, slow_grads, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert float((one - other).norm()) <= 1e-3 * float(other.norm()) + 1e-6
            compared += 1
    assert compared >= 10


@pytest.mark.parametrize("name", [name for name in FUSIONS if name != "none"])
def test_depth_reaches_the_loss_of_every_integration(
    name: str, small_folder: Path, rooms: Rooms, toy: AblationConfig
) -> None:
    maker = made(small_folder, BY_NAME[name], rooms)
    learner = Learner(maker, None, toy, 1e-3, 1)
    asked = drawn(rooms, 1.5)[0]
    with torch.no_grad():
        near, far = (learner.loss([Drawn(asked.index, by, True, asked.questions)]) for by in (1.0, 1.6))
    if name == "sdvlm":  # per-image min-max: a map and its multiple are one and the same
        torch.testing.assert_close(near, far, rtol=1e-5, atol=1e-6)
    else:
        assert float((near - far).abs()) > 1e-5
