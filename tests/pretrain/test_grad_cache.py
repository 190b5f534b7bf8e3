"""Gradient caching: chunk by chunk gives the gradient of the batch encoded at once."""

import pytest
import torch
from torch import nn

from sdvlm.pretrain.grad_cache import Encoded, cached_backward
from sdvlm.pretrain.info_nce import Temperature, info_nce
from sdvlm.types import SdvlmError


class TwoTowers(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.depth = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 5))
        self.rgb = nn.Sequential(nn.Linear(9, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 5))
        self.read = nn.Linear(5, 1)
        self.temperature = Temperature(0.2, learned=True)

    def loss(self, depth, rgb):
        return info_nce(depth, rgb, self.temperature()).loss

    def own(self, depth, truth):
        return (self.read(depth)[:, 0] - truth).abs().mean()


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.fixture
def batch():
    torch.manual_seed(3)
    return torch.randn(22, 6), torch.randn(22, 9), torch.randn(22)


SIZES = (8, 8, 6)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("own_loss", [False, True])
def test_chunks_give_the_gradient_of_the_whole_batch_for_both_towers_and_the_temperature(batch, dropout, own_loss):
    model = TwoTowers(dropout).double()
    depth, rgb, truth = (one.double() for one in batch)
    chunks = list(zip(depth.split(SIZES), rgb.split(SIZES), truth.split(SIZES), strict=True))

    def encode(chunk):
        a, b = model.depth(chunk[0]), model.rgb(chunk[1])
        return Encoded((a, b), (lambda: model.own(a, chunk[2])) if own_loss else None)

    torch.manual_seed(11)
    got = cached_backward(encode, chunks, model.loss)
    cached = gradients(model)

    model.zero_grad(set_to_none=True)
    torch.manual_seed(11)  # the same dropout, all graphs alive at once
    parts = [(model.depth(a), model.rgb(b)) for a, b, _ in chunks]
    whole = [torch.cat(part) for part in zip(*parts, strict=True)]
    loss = model.loss(*whole) + (model.own(whole[0], truth) if own_loss else 0)
    loss.backward()
    assert float(got.loss) == pytest.approx(float(loss.detach()), rel=1e-6)
    assert float(got.joint + got.own) == pytest.approx(float(got.loss))
    assert cached.keys() == gradients(model).keys()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(cached[name], gradient, rtol=1e-6, atol=1e-8, msg=name)


def test_the_gradient_differs_from_that_of_small_batches_on_their_own(batch):
    model = TwoTowers(0.0)
    depth, rgb, _ = batch
    cached_backward(
        lambda chunk: Encoded((model.depth(chunk[0]), model.rgb(chunk[1]))),
        list(zip(depth.split(SIZES), rgb.split(SIZES), strict=True)),
        model.loss,
    )
    cached = gradients(model)
    model.zero_grad(set_to_none=True)
    for a, b in zip(depth.split(SIZES), rgb.split(SIZES), strict=True):
        (model.loss(model.depth(a), model.rgb(b)) * len(a) / 22).backward()
    apart = gradients(model)
    assert (cached["depth.0.weight"] - apart["depth.0.weight"]).norm() > 0.1 * apart["depth.0.weight"].norm()


def test_a_frozen_teacher_is_passed_through_and_one_chunk_is_encoded_once(batch):
    model, calls = TwoTowers(0.3), []
    depth, _, truth = batch
    teacher = torch.randn(22, 5)

    def encode(chunk):
        calls.append(len(chunk[0]))
        a = model.depth(chunk[0])
        return Encoded((a, chunk[1]), lambda: model.own(a, chunk[2]))

    torch.manual_seed(4)
    one = cached_backward(encode, [(depth, teacher, truth)], model.loss)
    assert calls == [22]
    alone = gradients(model)
    model.zero_grad(set_to_none=True)
    torch.manual_seed(4)
    a = model.depth(depth)
    (model.loss(a, teacher) + model.own(a, truth)).backward()
    torch.testing.assert_close(alone, gradients(model))
    calls.clear()
    model.zero_grad(set_to_none=True)
    cached_backward(
        encode, [(depth[:10], teacher[:10], truth[:10]), (depth[10:], teacher[10:], truth[10:])], model.loss
    )
    assert calls == [10, 12, 10, 12]
    assert float(one.own) > 0


def test_gradients_are_added_to_those_already_there(batch):
    model = TwoTowers(0.0)
    depth, rgb, _ = batch
    chunks = list(zip(depth.split(SIZES), rgb.split(SIZES), strict=True))

    def step():
        cached_backward(lambda chunk: Encoded((model.depth(chunk[0]), model.rgb(chunk[1]))), chunks, model.loss)

    step()
    once = gradients(model)
    step()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, 2 * once[name], msg=name)


def test_a_batch_without_chunks_is_refused():
    with pytest.raises(SdvlmError, match="at least one chunk"):
        cached_backward(lambda chunk: Encoded((chunk,)), [], lambda *_: torch.zeros(()))
