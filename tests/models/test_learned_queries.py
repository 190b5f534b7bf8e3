"""Families whose tokens are learned queries: what needs a place is refused with what works, and that works."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.zoo.base import Tiny
from tests.models.zoo.queried import QUERIED, QUERIES

from sdvlm.fusion.config import PLACES
from sdvlm.models.families.known import QUERIED as NAMES
from sdvlm.models.prefix import answer_questions
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthMap, RgbdFrame, SdvlmError

ASK = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How far is the chair?"}]}]
IMAGE = np.random.default_rng(0).integers(0, 256, (75, 100, 3), dtype=np.uint8)
DEPTH = DepthMap(np.random.default_rng(1).uniform(0.5, 6.0, (75, 100)))
GREEDY = {"max_new_tokens": 4, "do_sample": False}


@pytest.fixture(scope="module", params=list(QUERIED))
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return QUERIED[request.param]()


def wrapped(tiny: Tiny, fusion: str | None) -> tuple[DepthVLM, DepthProcessor]:
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), fusion).eval()
    return model, DepthProcessor.for_model(model, tiny.processor)


def logits(model: Any, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


def test_it_is_known_to_have_queries(tiny: Tiny) -> None:
    assert tiny.model.config.model_type in NAMES


@pytest.mark.parametrize("fusion", [None, "dpe", "depth_prompt"])
def test_without_depth_it_is_the_base_model_bit_for_bit(tiny: Tiny, fusion: str | None) -> None:
    model, processor = wrapped(tiny, fusion)
    batch = processor(ASK, IMAGE)
    assert int((batch["input_ids"] == processor.image_token_id).sum()) == QUERIES
    assert torch.equal(logits(model, batch), logits(tiny.model, batch))
    assert torch.equal(model.generate(**batch, **GREEDY), tiny.model.generate(**batch, **GREEDY))


@pytest.mark.parametrize("fusion", sorted(set(PLACES) - {"depth_prompt", "depth_image"}))
def test_a_fusion_that_needs_places_is_refused_with_what_works(tiny: Tiny, fusion: str) -> None:
    with pytest.raises(SdvlmError) as caught:
        wrapped(tiny, fusion)[1](ASK, IMAGE, DEPTH)
    assert "'depth_prompt'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_depth_in_the_prompt_reaches_the_model(tiny: Tiny) -> None:
    model, processor = wrapped(tiny, "depth_prompt")
    near, far = (processor(ASK, IMAGE, depth) for depth in (DEPTH, DEPTH.scaled(2.0)))
    plain = processor(ASK, IMAGE)
    assert near["input_ids"].shape[1] > plain["input_ids"].shape[1]
    assert int((near["input_ids"] == processor.image_token_id).sum()) == QUERIES
    assert not torch.equal(logits(model, near)[:, -1], logits(model, far)[:, -1])
    assert model.generate(**near, **GREEDY).shape[0] == 1


def test_questions_about_a_picture_are_answered_as_one_by_one(tiny: Tiny) -> None:
    model, processor = wrapped(tiny, "depth_prompt")
    model.vlm.generation_config.eos_token_id = None
    frame = RgbdFrame(IMAGE, DEPTH, Camera.from_fov(100, 75, 60.0))
    questions = ["Table?", "How far is the red chair?"]
    wanted = []
    for question in questions:
        asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        batch = processor(asked, frame.image, frame.depth, frame.camera)
        said = model.generate(**batch, **GREEDY)[0, batch["input_ids"].shape[1] :]
        wanted.append(said.tolist())
    if tiny.name == "instructblip":  # its queries read the question
        with pytest.raises(SdvlmError, match="ask one question at a time"):
            answer_questions(model, processor, frame, questions, max_new_tokens=4)
        questions, wanted = questions[:1], wanted[:1]
    answers = answer_questions(model, processor, frame, questions, max_new_tokens=4)
    assert [list(answer.token_ids) for answer in answers] == wanted
    assert all(len(tokens) == 4 for tokens in wanted)


def test_a_drawn_depth_map_is_a_second_picture_or_refused_where_a_prompt_shows_one(tiny: Tiny) -> None:
    model, processor = wrapped(tiny, "depth_image")
    if tiny.name != "idefics2":
        with pytest.raises(SdvlmError, match=r"takes one picture.*'depth_prompt'") as caught:
            processor(ASK, IMAGE, DEPTH)
        assert "\n" not in str(caught.value)
        return
    near, far = (processor(ASK, IMAGE, depth) for depth in (DEPTH, DepthMap(DEPTH.values[::-1].copy())))
    assert near["pixel_values"].shape[1] == 2
    assert int((near["input_ids"] == processor.image_token_id).sum()) == 2 * QUERIES
    assert not torch.equal(logits(model, near), logits(model, far))
    assert torch.equal(pickle.loads(pickle.dumps(processor))(ASK, IMAGE, DEPTH)["pixel_values"], near["pixel_values"])
