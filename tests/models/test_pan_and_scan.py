"""Gemma 3 with pan and scan: crops of a long picture beside the whole of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.geometry.test_replay import check, ramp
from tests.models.test_families import check_pixels_move_tokens, noise, placeholders, unmixed
from tests.models.zoo import Tiny
from tests.models.zoo.dense import gemma3

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.families.processors import processed
from sdvlm.models.grid import TokenGrid, token_boxes
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap, SdvlmError

SCAN = {
    "do_pan_and_scan": True,
    "pan_and_scan_min_crop_size": 30,
    "pan_and_scan_max_num_crops": 3,
    "pan_and_scan_min_ratio_to_activate": 1.4,
}
LONG = {(180, 66): 3, (64, 130): 2, (151, 97): 2}
"""pictures and how many crops they give: as many as they are longer than wide, rounded"""
SHORT = (100, 75)
ASK = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Table?"}]}]


@pytest.fixture(scope="module")
def scanning() -> Tiny:
    return gemma3(**SCAN)


@pytest.mark.parametrize("size", [*LONG, SHORT])
def test_every_crop_shows_what_lay_where_its_transform_says(scanning: Tiny, size: tuple[int, int]) -> None:
    views = TokenGrid(scanning.model.config, scanning.processor.image_processor).views(size).transforms
    assert len(views) == 1 + LONG.get(size, 0)
    text = scanning.processor.apply_chat_template(ASK, add_generation_prompt=True)
    raw = {"do_normalize": False, "do_rescale": False}
    pictures = [[Image.fromarray(ramp(size))]]
    seen = processed(scanning.processor, text=[text], images=pictures, return_tensors="pt", **raw)["pixel_values"]
    for shown, steps in zip(seen.float().numpy(), views, strict=True):
        check(shown, steps, size)


@pytest.mark.parametrize("size", LONG)
def test_pixels_inside_a_box_move_its_token_and_none_that_looks_elsewhere(size: tuple[int, int]) -> None:
    check_pixels_move_tokens(unmixed(gemma3(**SCAN)), size)


@pytest.mark.parametrize("size", [*LONG, SHORT])
def test_there_is_a_box_for_every_placeholder_and_the_crops_boxes_cover_the_picture(
    scanning: Tiny, size: tuple[int, int]
) -> None:
    boxes = token_boxes(scanning.model, scanning.processor, size)
    whole = scanning.processor.image_seq_length
    assert len(boxes) == whole * (1 + LONG.get(size, 0)) == placeholders(scanning, size)
    for part in [boxes[:whole], boxes[whole:]] if size in LONG else [boxes]:
        area = np.prod(part[:, 2:] - part[:, :2], axis=1).sum()
        np.testing.assert_allclose(area, size[0] * size[1])
        np.testing.assert_allclose([*part[:, :2].min(axis=0), *part[:, 2:].max(axis=0)], [0, 0, *size])


def encoded(tiny: Tiny, fusion: Any, depth: bool) -> tuple[DepthVLM, Any]:
    """Model and batch of one question about a long picture and one about a short one."""
    model = DepthVLM.from_vlm(tiny.model, fusion).eval()
    sizes = [(180, 66), SHORT]
    maps = [DepthMap(np.random.default_rng(0).uniform(0.5, 6, size[::-1])) for size in sizes] if depth else None
    processor = DepthProcessor.for_model(model, tiny.processor)
    return model, processor([ASK, ASK], [noise(size, 0) for size in sizes], maps)


def test_depth_of_the_crops_reaches_the_model(scanning: Tiny) -> None:
    model, plain = encoded(scanning, "gated", depth=False)
    _, seeing = encoded(scanning, "gated", depth=True)
    assert len(seeing["depth_grid"]) == int((plain["input_ids"] == scanning.model.config.image_token_id).sum())
    base = scanning.model(**plain).logits
    assert torch.equal(model(**seeing).logits, base)  # a fresh gate lets nothing through
    spoken = DepthVLM.from_vlm(scanning.model, "dpe").eval()
    assert not torch.allclose(spoken(**seeing).logits, base, atol=1e-3)


def test_a_coordinate_counted_over_the_whole_picture_is_refused_where_there_are_crops(scanning: Tiny) -> None:
    counted = replace(FusionConfig.preset("dpe"), coordinate="minmax")
    with pytest.raises(SdvlmError, match="'minmax' is counted over a whole picture") as caught:
        encoded(scanning, counted, depth=True)
    assert "\n" not in str(caught.value)


def test_without_being_told_to_it_sees_a_long_picture_once() -> None:
    tiny = gemma3()
    assert len(token_boxes(tiny.model, tiny.processor, (180, 66))) == tiny.processor.image_seq_length
