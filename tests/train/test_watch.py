"""A group that trains and gets no gradient is named; one that the batch cannot reach is given time."""

import pytest
import torch
from tests.train.conftest import picture_example, text_example

from sdvlm.train.config import LearningRates, TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.forward import answer_losses
from sdvlm.train.trainable import trained_groups
from sdvlm.train.watch import GradientWatch, check_gradients, out_of_reach, without_gradient
from sdvlm.types import SdvlmError


def batch_of(trainee, *examples):
    return ExampleEncoder(trainee.processor, TrainConfig())(examples)


def step(trainee, batch):
    trainee.model.zero_grad()
    answer_losses(trainee.model, trainee.model.vlm, batch)[0].sum().backward()
    return trained_groups(trainee.model, LearningRates(vision_tower=1e-5))


def test_a_step_with_depth_reaches_every_group(trainee):
    watch = GradientWatch()
    groups = step(trainee, batch_of(trainee, picture_example()))
    assert {one.name for one in groups} == {"language_model", "projector", "fusion", "vision_tower"}
    watch.check(groups)
    assert watch.finished
    check_gradients(groups)


def test_a_part_that_the_loss_does_not_go_through_is_named(trainee):
    trainee.model.fusion.register_module("forgotten", torch.nn.Linear(3, 3))
    for name, parameter in trainee.model.fusion.named_parameters():
        parameter.requires_grad_(name.startswith("forgotten"))
    groups = step(trainee, batch_of(trainee, picture_example()))
    with pytest.raises(SdvlmError, match=r"no gradient reached the trained group 'fusion' \(12 parameters.*forgotten"):
        check_gradients(groups)
    assert without_gradient(groups)["fusion"] == ["fusion.forgotten.weight", "fusion.forgotten.bias"]


@pytest.mark.parametrize("left_out", ["depth", "pictures"])
def test_a_batch_that_lacks_depth_or_pictures_is_no_proof_and_the_next_one_is(trainee, left_out):
    poor = batch_of(trainee, picture_example(depth=False) if left_out == "depth" else text_example())
    rich = batch_of(trainee, picture_example())
    idle = {"fusion"} if left_out == "depth" else {"fusion", "projector", "vision_tower"}
    assert out_of_reach(poor) == idle
    assert out_of_reach(rich) == frozenset()
    watch = GradientWatch()
    for _ in range(3):
        watch.check(step(trainee, poor), poor)
    assert not watch.finished
    watch.check(step(trainee, rich), rich)
    assert watch.finished


def test_a_blank_picture_that_nothing_is_learned_of_reaches_no_group_of_vision(trainee):
    encoder = ExampleEncoder(trainee.processor, TrainConfig(), always_vision=True)
    batch = encoder([text_example()])
    assert "pixel_values" in batch
    watch = GradientWatch(image_token_id=trainee.processor.processor.image_token_id)
    watch.check(step(trainee, batch), batch)
    assert not watch.finished


def test_a_batch_that_teaches_nothing_is_no_proof_of_anything(trainee):
    batch = ExampleEncoder(trainee.processor, TrainConfig(max_tokens=3))([picture_example()])
    watch = GradientWatch()
    for _ in range(3):
        watch.check(step(trainee, batch), batch)
    assert not watch.finished
    rich = batch_of(trainee, picture_example())
    watch.check(step(trainee, rich), rich)
    assert watch.finished


def test_a_zero_gradient_is_none_and_one_number_is_enough(trainee):
    groups = step(trainee, batch_of(trainee, picture_example()))
    projector = next(one for one in groups if one.name == "projector")
    for parameter in projector.parameters:
        parameter.grad.zero_()
    with pytest.raises(SdvlmError, match="'projector'"):
        check_gradients(groups)
    projector.parameters[-1].grad.view(-1)[0] = 1e-20
    check_gradients(groups)


def test_patience_gives_a_group_more_steps(trainee):
    groups = step(trainee, batch_of(trainee, picture_example(depth=False)))
    watch = GradientWatch(patience=3)
    watch.check(groups)
    watch.check(groups)
    with pytest.raises(SdvlmError, match="'fusion'"):
        watch.check(groups)


def test_a_gradient_that_is_not_finite_is_told(trainee):
    groups = step(trainee, batch_of(trainee, picture_example()))
    groups[0].parameters[0].grad.view(-1)[0] = torch.nan
    with pytest.raises(SdvlmError, match=f"'{groups[0].name}' is not finite"):
        check_gradients(groups)
