"""Kept tower features of a tower with deeper levels: the levels are kept too, whether or not depth goes into them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.test_families_contract import Member, batch_of, labelled

from sdvlm.fusion.config import FusionConfig
from sdvlm.train.tower_cache import attach
from sdvlm.types import SdvlmError


@pytest.fixture(scope="module")
def member() -> Member:
    return Member("qwen3_vl")


def learned(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss, and its gradient in the fusion."""
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return loss.detach(), model.fusion.mlp.last.weight.grad.clone()


@pytest.mark.parametrize("deep", [False, True])
def test_loss_and_gradients_are_the_same_from_the_tower_and_from_disk(
    member: Member, deep: bool, tmp_path: Path
) -> None:
    model, processor = member.wrapped(replace(FusionConfig.preset("mlp"), deep=deep))
    torch.nn.init.normal_(model.fusion.mlp.last.weight)
    model.vlm.requires_grad_(False)
    batch = labelled(batch_of(processor, [0]))
    loss, gradient = learned(model, batch)
    with attach(model, tmp_path) as cache:
        for _ in range(2):
            kept_loss, kept_gradient = learned(model, batch)
            assert torch.equal(kept_loss, loss)
            assert torch.equal(kept_gradient, gradient)
    assert (cache.seen, cache.found) == (2, 1)
    assert cache.parts == ("pooler_output", "deepstack_features.0")


def test_the_levels_of_several_pictures_are_kept_apart(member: Member, tmp_path: Path) -> None:
    model, processor = member.wrapped("dpe")
    model.vlm.requires_grad_(False)
    with attach(model, tmp_path) as cache, torch.no_grad():
        for index in (0, 1):
            model(**batch_of(processor, [index]))
        kept = model(**batch_of(processor, [1, 0])).logits
        assert cache.found == 2
    with torch.no_grad():
        torch.testing.assert_close(kept, model(**batch_of(processor, [1, 0])).logits, rtol=1e-4, atol=1e-5)


def test_a_trained_projector_beside_deeper_levels_is_refused_in_a_line(member: Member, tmp_path: Path) -> None:
    model, _ = member.wrapped("mlp")
    model.vlm.requires_grad_(False)
    model.vlm.base_model.visual.merger.requires_grad_(True)
    with pytest.raises(SdvlmError, match=r"deeper feature levels.*set lr\.projector to 0") as caught:
        attach(model, tmp_path)
    assert "\n" not in str(caught.value)
    assert not any("forward" in vars(module) for module in model.vlm.base_model.visual.modules())
