"""Depth in front of a tower's first layer, and a fusion of the tokens behind it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.tower_cache import why_not
from sdvlm.types import Camera, DepthMap, SdvlmError

from .conftest import Tiny

SIZE = (100, 75)
CAMERA = Camera.from_fov(*SIZE, 60.0)
EARLY = FusionConfig.preset("pointmap").with_early()


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def depth_map(seed: int = 0) -> DepthMap:
    z = np.random.default_rng(seed).uniform(0.5, 6.0, (SIZE[1], SIZE[0]))
    z[:, :30] = np.nan
    return DepthMap(z)


def wrapped(tiny: Tiny, opened: bool = True) -> tuple[Any, DepthProcessor]:
    torch.manual_seed(3)
    model: Any = DepthVLM.from_vlm(copy.deepcopy(tiny.model), EARLY).eval()
    if opened:
        torch.nn.init.normal_(model.fusion.stem.pixels.weight, std=0.1)
        torch.nn.init.normal_(model.fusion.behind.mlp.last.weight, std=0.1)
    return model, DepthProcessor.for_model(model, tiny.processor)


def batch_of(processor: DepthProcessor, depths: list[DepthMap | None]) -> Any:
    ask = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How far?"}]}]
    pictures = [picture(index) for index in range(len(depths))]
    return processor([ask] * len(depths), pictures, depths, [CAMERA] * len(depths))


def logits(model: Any, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


def test_fresh_or_without_depth_it_is_the_base_model_bit_for_bit(tiny: Tiny) -> None:
    fresh, processor = wrapped(tiny, opened=False)
    plain = logits(tiny.model, batch_of(processor, [None]))
    assert torch.equal(logits(fresh, batch_of(processor, [depth_map()])), plain)
    opened, processor = wrapped(tiny)
    assert torch.equal(logits(opened, batch_of(processor, [None])), plain)
    assert not torch.allclose(logits(opened, batch_of(processor, [depth_map()])), plain, atol=1e-3)


def test_depth_of_one_picture_of_a_batch_leaves_the_other(tiny: Tiny) -> None:
    model, processor = wrapped(tiny)
    both = logits(model, batch_of(processor, [depth_map(), depth_map(1)]))
    first = logits(model, batch_of(processor, [depth_map(), None]))
    torch.testing.assert_close(first[0], both[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(first[1], both[1], atol=1e-3)


def test_the_first_layer_takes_in_each_patchs_planes_by_one_matrix(tinies: dict[str, Tiny]) -> None:
    tiny = tinies["llava-crop"]
    model, processor = wrapped(tiny)
    batch = batch_of(processor, [depth_map()])
    bare = {name: value for name, value in batch.items() if not name.startswith("depth")}

    def patches_of(vlm: Any, run: Any, inputs: Any) -> torch.Tensor:
        taken: list[torch.Tensor] = []
        norm = vlm.base_model.vision_tower.encoder.layers[0].layer_norm1  # what sees the layer's input first
        handle = norm.register_forward_pre_hook(lambda module, args: taken.append(args[0].detach()))
        logits(run, inputs)
        handle.remove()
        return taken[0][0]

    plain, seen = patches_of(tiny.model, tiny.model, bare), patches_of(model.vlm, model, batch)
    planes, weight = batch["depth_pixels"], model.fusion.stem.pixels.weight
    known = (planes != 0).any(1, keepdim=True).float()
    side = weight.shape[-1]
    blocks = F.unfold(torch.cat([planes, known], 1), side, stride=side)[0].T  # [N, C * side * side]
    update = plain[1:].square().mean().sqrt() * (blocks @ weight.detach().reshape(len(weight), -1).T)
    wanted = torch.where((blocks != 0).any(1, keepdim=True), plain[1:] + update, plain[1:])
    torch.testing.assert_close(seen[1:], wanted, atol=1e-5, rtol=1e-4)
    assert torch.equal(seen[0], plain[0])  # the class token


def test_gradients_reach_both_parts(tiny: Tiny) -> None:
    model, processor = wrapped(tiny, opened=False)
    batch = batch_of(processor, [depth_map()])
    model(**batch, labels=batch["input_ids"]).loss.backward()
    assert model.fusion.stem.pixels.weight.grad.abs().max() > 0
    assert model.fusion.behind.mlp.last.weight.grad.abs().max() > 0


def test_it_is_saved_and_loaded(tiny: Tiny, tmp_path: Path) -> None:
    model, processor = wrapped(tiny)
    model.save_pretrained(tmp_path)
    again = DepthVLM.from_pretrained(tmp_path)
    batch = batch_of(processor, [depth_map()])
    assert torch.equal(logits(again, batch), logits(model, batch))


def test_features_that_depend_on_depth_are_not_cached(tiny: Tiny) -> None:
    model, _ = wrapped(tiny)
    model.vlm.requires_grad_(False)
    assert "works inside the vision tower" in str(why_not(model))


def test_fusions_with_a_place_of_their_own_refuse_it() -> None:
    for name in ("adapter", "encoder_add", "depth_token", "depth_prompt"):
        with pytest.raises(SdvlmError, match="has its own place for depth"):
            replace(FusionConfig.preset(name), early=True)
    with pytest.raises(SdvlmError, match="say which channels"):
        replace(FusionConfig.preset("gated"), early=True)
    assert FusionConfig.from_dict(EARLY.to_dict()) == EARLY
