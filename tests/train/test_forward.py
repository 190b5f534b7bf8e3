"""The loss of a pass is the wrapped model's own, and logits are made for no more tokens than are learned."""

from __future__ import annotations

from contextlib import contextmanager
from types import MethodType

import pytest
import torch

from sdvlm.train.config import TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.forward import answer_losses, attention_of, positions_of
from sdvlm.train.packing import IGNORED

from .conftest import picture_example, text_example, with_fusion

NOT_THE_MODELS = ("segments", "families")


@pytest.fixture
def made(family):
    """Model and encoder of each family in turn."""
    model, processor = with_fusion(family, "gated")
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(1)) * 0.1)
    return model, ExampleEncoder(processor, TrainConfig(), pack=False)


@pytest.mark.parametrize("example", [picture_example(0, 1), text_example()], ids=["picture", "text"])
def test_the_loss_of_a_row_is_the_models_own(made, example):
    model, encoder = made
    batch = encoder([example])
    with torch.no_grad():
        own = model(**{name: one for name, one in batch.items() if name not in NOT_THE_MODELS}).loss
        losses, _ = answer_losses(model, model.vlm, batch)
    assert float(losses.mean()) == pytest.approx(float(own), rel=1e-5)
    assert losses.dtype == torch.float32


def test_every_loss_is_that_of_the_token_it_is_said_to_be_of(made):
    """In a loop over rows and tokens, from logits of all tokens."""
    model, encoder = made
    batch = encoder([picture_example(0, 2), picture_example(1, 1)])
    inputs = {name: one for name, one in batch.items() if name not in (*NOT_THE_MODELS, "labels")}
    with torch.no_grad():
        logits = model(**inputs).logits.log_softmax(dim=-1)
        losses, where = answer_losses(model, model.vlm, batch)
    wanted = {
        (row, at): -float(logits[row, at - 1, label])
        for row, labels in enumerate(batch["labels"].tolist())
        for at, label in enumerate(labels)
        if label != IGNORED
    }
    assert [tuple(one) for one in where.tolist()] == sorted(wanted)
    assert losses.tolist() == pytest.approx([wanted[tuple(one)] for one in where.tolist()], rel=1e-4)


@pytest.mark.parametrize("pack", [True, False])
def test_keeping_few_logits_changes_nothing_and_does_keep_few(made, pack):
    model, encoder = made
    encoder.pack = pack
    batch = encoder([picture_example(0, 3), picture_example(1, 2)])
    learned = len((batch["labels"][:, 1:] != IGNORED).any(dim=0).nonzero())
    made_of = []
    hook = model.vlm.get_output_embeddings().register_forward_pre_hook(lambda _, given: made_of.append(given[0].shape))
    with torch.no_grad():
        few, _ = answer_losses(model, model.vlm, batch)
        with every_logit(model.vlm):
            whole, _ = answer_losses(model, model.vlm, batch)
    hook.remove()
    assert few.tolist() == pytest.approx(whole.tolist(), rel=1e-5)
    assert [shape[1] for shape in made_of] == [learned, batch["labels"].shape[1]]


@contextmanager
def every_logit(vlm):
    """A ``forward`` that does not say it could keep few."""
    inner = vlm.forward

    def forward(self, mm_encoder_outputs=None, **given):
        return inner(mm_encoder_outputs=mm_encoder_outputs, **given)

    vlm.forward = MethodType(forward, vlm)
    try:
        yield
    finally:
        del vlm.forward


def test_positions_of_a_dialogue_are_those_it_has_alone(made):
    """Three-axis positions of Qwen2.5-VL from the model's own function for each dialogue as a row of its own."""
    model, encoder = made
    example = picture_example(0, 3)
    encoder.pack = True
    batch = encoder([example, text_example()])
    packed = positions_of(model.vlm, batch)
    encoder.pack = False
    for number in range(3):
        alone = encoder([picture_example(0, 3)])
        count = int(alone["attention_mask"][number].sum())
        if packed.ndim == 3:
            kept = ("input_ids", "attention_mask", "image_grid_thw", "mm_token_type_ids")
            found = model.vlm.base_model.get_rope_index(**{name: alone[name] for name in kept if name in alone})[0]
            wanted = found[:, number, :count]
        else:
            wanted = torch.arange(count)
        own = (batch["segments"][0] == 0) | (batch["segments"][0] == number + 1)
        assert batch["input_ids"][0][own].tolist() == alone["input_ids"][number][:count].tolist()
        assert torch.equal(packed[..., 0, own], wanted)


@pytest.mark.parametrize(("kind", "dtype"), [("sdpa", torch.bool), ("eager", torch.float32)])
def test_the_mask_has_the_form_the_attention_takes(made, kind, dtype):
    model, encoder = made
    encoder.pack = True
    segments = encoder([picture_example()])["segments"]
    model.vlm.get_decoder().set_attn_implementation(kind)
    mask = attention_of(model.vlm, segments)
    assert mask.dtype == dtype
    assert mask.shape == (1, 1, segments.shape[1], segments.shape[1])
