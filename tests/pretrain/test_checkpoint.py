"""Checkpoints: whole or not at all, and going on from one is going on."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from sdvlm.pretrain import checkpoint
from sdvlm.pretrain.checkpoint import latest, load_checkpoint, save_checkpoint
from sdvlm.pretrain.optimise import make_optimizer, schedule, set_rates
from sdvlm.types import SdvlmError


def trained(model, optimizer, steps, first=0):
    """Losses of some steps on data made from the step's number."""
    losses = []
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 4, generator=generator), torch.randn(8, 2, generator=generator)
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def fresh(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    return model, make_optimizer([model[2]], [model[0]], 1e-2, 1e-3, 0.1)


def test_going_on_from_a_checkpoint_gives_the_losses_of_an_uninterrupted_run(tmp_path):
    model, optimizer = fresh()
    whole = trained(model, optimizer, 6)
    model, optimizer = fresh()
    trained(model, optimizer, 3)
    save_checkpoint(tmp_path, 3, {"model": model}, optimizer, {"seen": [1, 2]})
    model, optimizer = fresh(seed=99)
    step, state = load_checkpoint(latest(tmp_path), {"model": model}, optimizer)
    assert (step, state) == (3, {"seen": [1, 2]})
    assert trained(model, optimizer, 3, first=3) == whole[3:]


def test_only_the_newest_are_kept(tmp_path):
    model, optimizer = fresh()
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, {"model": model}, optimizer, {}, keep=2)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]
    assert latest(tmp_path).name == "step-00000010"


def test_one_that_could_not_be_written_leaves_nothing_and_the_one_before(tmp_path, monkeypatch):
    model, optimizer = fresh()
    save_checkpoint(tmp_path, 1, {"model": model}, optimizer, {})

    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, 2, {"model": model}, optimizer, {})
    assert [one.name for one in tmp_path.iterdir()] == ["step-00000001"]


def test_no_checkpoint_is_none(tmp_path):
    assert latest(tmp_path / "none") is None


def test_a_damaged_one_or_one_of_other_modules_is_refused_by_name(tmp_path):
    model, optimizer = fresh()
    place = save_checkpoint(tmp_path, 1, {"model": model}, optimizer, {})
    with pytest.raises(SdvlmError, match="step-00000001"):
        load_checkpoint(place, {"model": nn.Linear(4, 2)})
    (place / "weights.safetensors").write_bytes(b"cut")
    with pytest.raises(SdvlmError, match="remove that folder"):
        load_checkpoint(place, {"model": model})


def test_rates_and_decay_follow_the_part_and_the_shape():
    new, cloned, temperature = nn.Linear(3, 2), nn.Linear(3, 2), nn.Embedding(2, 3)
    optimizer = make_optimizer([new, temperature], [cloned, new], 1.0, 0.1, 0.05, no_decay=[temperature])
    of = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 5
    assert (of[id(new.weight)]["lr"], of[id(new.weight)]["weight_decay"]) == (1.0, 0.05)
    assert (of[id(new.bias)]["lr"], of[id(new.bias)]["weight_decay"]) == (1.0, 0.0)
    assert (of[id(cloned.weight)]["lr"], of[id(cloned.weight)]["weight_decay"]) == (0.1, 0.05)
    assert of[id(temperature.weight)]["weight_decay"] == 0.0
    set_rates(optimizer, 0.5)
    assert of[id(cloned.weight)]["lr"] == 0.05


def test_the_rate_rises_then_falls_to_nothing():
    factors = [schedule(step, 100, 0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert factors[100] == pytest.approx(0.0)
