"""A run that was stopped goes on as if it had not been."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sdvlm.nano import optimise
from sdvlm.nano.optimise import run_steps
from sdvlm.nano.recipe import Recipe


def losses(model: nn.Module, stop: int | None = None):
    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        if step == stop:
            raise KeyboardInterrupt
        rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(rows) - rows.sum(1, keepdim=True)).square().mean()
        return loss, {"loss": float(loss.detach())}

    return loss_of


def model_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    model.register_parameter("unused", nn.Parameter(torch.ones(1)))  # a tower has such
    return model


def test_a_stopped_run_comes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimise, "KEPT_EVERY", 10)
    whole = model_of(0)
    list(run_steps("whole", 40, [whole], 1e-2, Recipe(), losses(whole), tmp_path / "whole.safetensors"))
    stopped, state = model_of(0), tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        list(run_steps("one", 40, [stopped], 1e-2, Recipe(), losses(stopped, stop=27), state))
    assert state.exists()
    again = model_of(1)  # other weights: all comes from the file
    list(run_steps("two", 40, [again], 1e-2, Recipe(), losses(again), state))
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not state.exists()
