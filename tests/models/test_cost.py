"""What ``sdvlm doctor --model`` counts is what a model with that fusion really has."""

import numpy as np
import pytest

from sdvlm.fusion.config import PLACES
from sdvlm.models.cost import QUESTION_TOKENS, fusion_costs
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap

from .conftest import Tiny

SIZE = (83, 61)


def _costs(tiny: Tiny):
    return {c.fusion: c for c in fusion_costs(tiny.model.config, tiny.processor.image_processor, SIZE)}


def test_every_fusion_has_a_row(tiny):
    assert set(_costs(tiny)) == set(PLACES)


@pytest.mark.parametrize("name", sorted(PLACES))
def test_counted_parameters_are_those_of_the_module(tiny, name):
    model = DepthVLM.from_vlm(tiny.model, name)
    cost = _costs(tiny)[name]
    own = 0 if model.fusion is None else sum(p.numel() for p in model.fusion.parameters())
    assert cost.parameters == own
    assert cost.share == pytest.approx(own / sum(p.numel() for p in tiny.model.parameters()))


@pytest.mark.parametrize("name", sorted(set(PLACES) - {"depth_prompt"}))  # whose words a tokenizer counts
def test_counted_tokens_are_those_the_processor_places(tiny, name):
    model = DepthVLM.from_vlm(tiny.model, name)
    processor = DepthProcessor.for_model(model, tiny.processor)
    image = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
    depth = DepthMap(np.full((SIZE[1], SIZE[0]), 2.0))
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How far?"}]}]
    mark = tiny.processor.image_token_id
    bare, given = (int((processor(asked, [image], one)["input_ids"] == mark).sum()) for one in (None, [depth]))
    cost = _costs(tiny)[name]
    assert (cost.tokens, cost.extra_tokens) == (bare, given - bare)


def test_a_sequence_twice_as_long_costs_about_twice_as_much_and_an_addition_next_to_nothing(tiny):
    costs = _costs(tiny)
    n = costs["dpe"].tokens
    longer = (2 * n + QUESTION_TOKENS) / (n + QUESTION_TOKENS)
    assert costs["dpe"].prefill == 1.0
    assert 1.0 < costs["depth_token"].prefill < 1.2 * longer
    assert costs["depth_image"].prefill > costs["depth_token"].prefill  # the tower looks twice
    assert costs["concat"].prefill == pytest.approx(costs["depth_image"].prefill, rel=0.05)
