"""Depth tokens behind the picture's own: which tokens the language model reads, in which order, and what moves them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.models.grid import token_boxes
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

from .conftest import Tiny

SIZES = [(100, 75), (75, 101), (64, 64)]


def parts_of(tiny: Tiny, paired: bool = True) -> tuple[DepthVLM, DepthProcessor]:
    torch.manual_seed(0)
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), FusionConfig("depth_token", paired=paired))
    return model, DepthProcessor.for_model(model, copy.deepcopy(tiny.processor))


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def depth_map(size: tuple[int, int], seed: int = 0) -> DepthMap:
    return DepthMap(np.random.default_rng(seed).uniform(0.5, 5.0, (size[1], size[0])))


def ask(text: str, pictures: int = 1) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}] * pictures + [{"type": "text", "text": text}]}]


def slots(model: DepthVLM, batch: Any) -> list[torch.Tensor]:
    """The tokens of each picture slot, as the language model gets them."""
    depth = {name: batch[name] for name in ("depth_grid", "depth_pixels", "depth_pictures") if name in batch}
    inputs = {name: value for name, value in batch.items() if name not in depth}
    with torch.no_grad():
        return list(model.seam(inputs, **depth)["mm_encoder_outputs"]["image"].pooler_output)


def own_tokens(tiny: Tiny, batch: Any) -> list[torch.Tensor]:
    """What the base model makes of the same pictures alone."""
    plain = {name: batch[name] for name in ("pixel_values", "image_grid_thw") if name in batch}
    with torch.no_grad():
        return list(tiny.model.get_image_features(**plain, return_dict=True).pooler_output)


@pytest.mark.parametrize("paired", [True, False])
def test_a_picture_keeps_its_tokens_and_as_many_depth_tokens_follow(tiny: Tiny, paired: bool) -> None:
    model, processor = parts_of(tiny, paired)
    depth, camera = depth_map(SIZES[0]), Camera.from_fov(*SIZES[0], 60.0)
    batch = processor(ask("How far?"), picture(SIZES[0]), depth, camera)
    own, behind = slots(model, batch)
    plain = processor(ask("How far?"), picture(SIZES[0]))
    (alone,) = own_tokens(tiny, plain)
    assert torch.equal(own, alone)
    grid = DepthGrid.unpack(batch["depth_grid"], torch.zeros(len(alone), dtype=torch.long))
    with torch.no_grad():
        depth_alone = model.fusion(alone, grid)
    torch.testing.assert_close(behind, depth_alone + alone if paired else depth_alone)
    image_tokens = [int((b["input_ids"] == processor.processor.image_token_id).sum()) for b in (batch, plain)]
    assert image_tokens == [2 * len(alone), len(alone)]
    assert torch.equal(batch["pixel_values"], plain["pixel_values"])  # a depth picture costs the tower nothing


def test_the_language_model_reads_them_in_that_order(tiny: Tiny) -> None:
    """Against the wrapped model given the same tokens by hand, in a prompt with two pictures."""
    model, processor = parts_of(tiny)
    batch = processor(ask("How far is it?"), picture(SIZES[0]), depth_map(SIZES[0]))
    text = tiny.processor.apply_chat_template(ask("How far is it?", 2), add_generation_prompt=True)
    by_hand = dict(tiny.processor(text=[text], images=[picture(SIZES[0])] * 2, return_tensors="pt"))
    assert torch.equal(batch["input_ids"], by_hand["input_ids"])
    by_hand.pop("pixel_values")
    shown = {"pixel_values": batch["pixel_values"]}
    if "image_grid_thw" in batch:
        shown["image_grid_thw"] = batch["image_grid_thw"][:1]
    features = tiny.model.get_image_features(**shown, return_dict=True)
    features.pooler_output = tuple(slots(model, batch))
    with torch.no_grad():
        wanted = tiny.model(**by_hand, mm_encoder_outputs={"image": features}).logits
        assert torch.equal(model(**batch).logits, wanted)


@pytest.mark.parametrize("size", [*SIZES, (131, 53)])
def test_a_bump_in_depth_changes_only_the_depth_tokens_whose_boxes_it_touches(
    tiny: Tiny, size: tuple[int, int]
) -> None:
    """fusion-methods T6."""
    model, processor = parts_of(tiny)
    boxes = token_boxes(model, processor.processor, size)
    flat = DepthMap(np.full((size[1], size[0]), 2.0))
    rng = np.random.default_rng(3)
    touched_any = 0
    for _ in range(8):
        x, y = int(rng.integers(0, size[0] - 5)), int(rng.integers(0, size[1] - 5))
        values = flat.values.copy()
        values[y : y + 5, x : x + 5] = 9.0
        (own, before), (same, after) = (
            slots(model, processor(ask("?"), picture(size), depth)) for depth in (flat, DepthMap(values))
        )
        assert torch.equal(own, same)
        moved = (before != after).any(dim=1).numpy()
        touched = (boxes[:, 0] < x + 5) & (boxes[:, 2] > x) & (boxes[:, 1] < y + 5) & (boxes[:, 3] > y)
        assert moved.tolist() == touched.tolist()
        touched_any += int(touched.any())
    assert touched_any >= 1


def test_a_token_takes_its_place_from_the_picture_not_from_the_padding(tiny: Tiny) -> None:
    model, processor = parts_of(tiny, paired=False)
    flat = DepthMap(np.full((75, 100), 2.0))
    _, behind = slots(model, processor(ask("?"), picture(SIZES[0]), flat))
    boxes = token_boxes(model, processor.processor, SIZES[0])
    centres = torch.tensor((boxes[:, :2] + boxes[:, 2:]) / 2 / [100, 75])
    inside = ((centres > 0) & (centres < 1)).all(dim=1)
    rounded = {tuple(one) for one in behind[inside].mul(1e4).round().tolist()}
    assert len(rounded) == int(inside.sum()) > 3  # all at one depth, each knows where it is


def test_pictures_without_depth_get_no_tokens_and_the_others_keep_theirs(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    pictures, maps = [picture(s, i) for i, s in enumerate(SIZES)], [depth_map(s, i) for i, s in enumerate(SIZES)]
    batch = processor(ask("Which is nearer?", 3), pictures, [maps[0], None, maps[2]])
    assert batch["depth_pictures"].tolist() == [False, True, False, False, True]
    together = slots(model, batch)
    for slot, index in ((0, 0), (3, 2)):
        own, behind = slots(model, processor(ask("?"), pictures[index], maps[index]))
        torch.testing.assert_close(together[slot], own, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(together[slot + 1], behind, atol=2e-5, rtol=1e-4)
    (own,) = own_tokens(tiny, processor(ask("?"), pictures[1]))
    torch.testing.assert_close(together[2], own, atol=2e-5, rtol=1e-4)
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits).all()


def test_loss_reaches_table_unknown_and_places_and_nothing_breaks_in_bfloat16(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    values = depth_map(SIZES[0]).values.copy()
    values[:40] = np.nan
    talk = [*ask("How far is the chair?"), {"role": "assistant", "content": "1.25 m"}]
    batch = processor(talk, picture(SIZES[0]), DepthMap(values), labels=True)
    model(**batch).loss.backward()
    for name, parameter in model.fusion.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    half = model.to(torch.bfloat16)
    with torch.no_grad():
        assert torch.isfinite(half(**batch.to(torch.bfloat16)).logits).all()


def test_scaled_depth_changes_the_tokens_and_depth_of_another_kind_is_refused(tiny: Tiny) -> None:
    model, processor = parts_of(tiny)
    depth = depth_map((64, 64))
    _, one = slots(model, processor(ask("?"), picture((64, 64)), depth))
    _, other = slots(model, processor(ask("?"), picture((64, 64)), depth.scaled(2.0)))
    assert (one - other).norm(dim=1).min() > 0.05 * one.norm(dim=1).mean()
    with pytest.raises(SdvlmError, match="needs metric"):
        processor(ask("?"), picture((64, 64)), DepthMap(depth.values, DepthKind.DISPARITY))
