"""Held-out losses: by family, over all processes, and with depth withheld."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdvlm.train.config import TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.forward import answer_losses
from sdvlm.train.heldout import Held, heldout_losses, share_of

from .conftest import picture_example, text_example

FAMILIES = ("scale_estimation", "relative_position", "of no family we know")


def mixed(seed: int, dialogues: int, depth: bool = True):
    """A picture with questions of several families, one of them unknown."""
    example = picture_example(seed, dialogues, depth=depth)
    asked = [replace(one, family=FAMILIES[index % 3]) for index, one in enumerate(example.dialogues)]
    return replace(example, dialogues=tuple(asked))


@pytest.mark.parametrize("pack", [True, False])
def test_losses_are_the_means_over_dialogues_asked_one_at_a_time(trainee, pack):
    model, processor = trainee.model, trainee.processor
    examples = [mixed(0, 4), text_example(), mixed(1, 3), mixed(2, 1)]
    encoder = ExampleEncoder(processor, TrainConfig(), pack)
    found = heldout_losses(model, model.vlm, (encoder(examples[at : at + 2]) for at in (0, 2)))
    apart: dict[str, list[float]] = {}
    for example in examples:
        for dialogue in example.dialogues:
            one = ExampleEncoder(processor, TrainConfig(), False)([replace(example, dialogues=(dialogue,))])
            with torch.no_grad():
                each = answer_losses(model, model.vlm, one)[0].tolist()
            family = dialogue.family if dialogue.family in FAMILIES[:2] else "general"
            apart.setdefault(family, []).extend(each)
    wanted = {f"loss_{name}": sum(each) / len(each) for name, each in apart.items()}
    every = [one for each in apart.values() for one in each]
    assert found == pytest.approx(wanted | {"loss": sum(every) / len(every)}, rel=1e-4)
    assert set(found) == {"loss", "loss_scale_estimation", "loss_relative_position", "loss_general"}


def test_the_model_is_asked_without_dropout_and_left_as_it_was(make_trainee):
    trainee = make_trainee("llava")
    encoder = ExampleEncoder(trainee.processor, TrainConfig())
    trainee.model.vlm.get_decoder().config.attention_dropout = 0.5
    for layer in trainee.model.vlm.get_decoder().layers:
        layer.self_attn.attention_dropout = 0.5
    trainee.model.train()
    one, two = (heldout_losses(trainee.model, trainee.model.vlm, [encoder([mixed(0, 3)])]) for _ in range(2))
    assert one == two
    assert trainee.model.training


def test_nothing_held_out_is_no_loss(make_trainee):
    trainee = make_trainee("llava")
    assert heldout_losses(trainee.model, trainee.model.vlm, []) == {}
    left_out = ExampleEncoder(trainee.processor, TrainConfig(max_tokens=3))([mixed(0, 2)])
    assert heldout_losses(trainee.model, trainee.model.vlm, [left_out]) == {}


def test_depth_withheld_is_no_depth_at_all(make_trainee):
    trainee = make_trainee("llava")
    shown, hidden = (Held([mixed(0, 2), mixed(1, 2, depth=False)], depth) for depth in (True, False))
    assert [one.depth[0] is not None for one in (shown[0], shown[1])] == [True, False]
    assert [one.depth for one in (hidden[0], hidden[1])] == [(None,), (None,)]
    encoder = ExampleEncoder(trainee.processor, TrainConfig())
    grids = [encoder([held[0]])["depth_grid"][:, 0] for held in (shown, hidden)]
    assert [bool(one.isnan().all()) for one in grids] == [False, True]


@pytest.mark.parametrize("examples", [1, 2, 5, 8, 13])
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_every_example_is_in_one_process_and_all_do_as_many_batches(examples, size, processes):
    shares = [share_of(examples, size, one, processes) for one in range(processes)]
    counted = [index for batches, count in shares for batch in batches[:count] for index in batch]
    assert sorted(counted) == list(range(examples))
    assert len({len(batches) for batches, _ in shares}) == 1
    assert all(0 < len(batch) <= size for batches, _ in shares for batch in batches)


def test_batches_behind_those_that_count_change_nothing(make_trainee):
    trainee = make_trainee("llava")
    encoder = ExampleEncoder(trainee.processor, TrainConfig())
    batches = [encoder([mixed(0, 2)]), encoder([mixed(1, 2)])]
    found = heldout_losses(trainee.model, trainee.model.vlm, batches, counted=1)
    assert found == heldout_losses(trainee.model, trainee.model.vlm, batches[:1])
