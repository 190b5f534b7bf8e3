"""Packing is refused where a language model's attention could not keep dialogues apart, or where answers change."""

from __future__ import annotations

import copy
from types import MethodType

import pytest
import torch

from sdvlm.train.can_pack import TOLERANCE, choose_attention, packing_error, why_not_packed
from sdvlm.train.config import TrainConfig, VarySettings
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.packing import block_mask
from sdvlm.types import SdvlmError

from .conftest import picture_example, text_example, with_fusion


@pytest.fixture
def made(family):
    """Model and encoder of each family in turn."""
    model, processor = with_fusion(family, "gated")
    return model, ExampleEncoder(processor, TrainConfig())


def error_of(made, *examples):
    return packing_error(made[0], made[0].vlm, made[1], examples or [picture_example()])


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_attention_that_takes_any_mask_passes(made, kind):
    made[0].vlm.get_decoder().set_attn_implementation(kind)
    assert why_not_packed(made[0].vlm) is None
    assert error_of(made) < TOLERANCE[torch.float32]


@pytest.mark.parametrize("kind", ["sliding_attention", "linear_attention", "chunked_attention"])
def test_layers_that_count_their_reach_in_rows_are_refused(made, kind):
    config = made[0].vlm.get_decoder().config
    config.layer_types = ["full_attention", kind]
    assert kind in why_not_packed(made[0].vlm)
    config.layer_types = ["full_attention"] * 2
    assert why_not_packed(made[0].vlm) is None


def test_attention_that_makes_its_own_mask_is_refused(made):
    made[0].vlm.get_decoder().config._attn_implementation = "flash_attention_2"
    assert "'flash_attention_2' takes no mask" in why_not_packed(made[0].vlm)


def test_a_model_that_looks_both_ways_over_the_picture_is_found_out(tiny_families):
    """As Gemma 3 and PaliGemma do: told neither by its config nor by its attention, only by its answers."""
    model, processor = with_fusion(tiny_families["llava"])
    vlm, image = model.vlm, processor.processor.image_token_id
    inner = vlm.forward

    def forward(self, attention_mask=None, input_ids=None, mm_encoder_outputs=None, logits_to_keep=0, **given):
        if attention_mask is not None and attention_mask.ndim == 2:  # its own mask, where it is not given one
            seen = block_mask(attention_mask - 1)
            picture = input_ids == image
            attention_mask = seen | (picture[:, None, :, None] & picture[:, None, None, :])
        return inner(
            attention_mask=attention_mask, input_ids=input_ids, mm_encoder_outputs=mm_encoder_outputs,
            logits_to_keep=logits_to_keep, **given,
        )  # fmt: skip

    before = error_of((model, ExampleEncoder(processor, TrainConfig())))
    vlm.forward = MethodType(forward, vlm)
    assert why_not_packed(vlm) is None
    found = error_of((model, ExampleEncoder(processor, TrainConfig())))
    assert before < TOLERANCE[torch.float32] < 1e-3 < found


def test_an_attention_that_ignores_the_mask_is_found_out(made):
    """Each dialogue then sees those before it."""
    model, encoder = made
    decoder = model.vlm.get_decoder()
    inner = decoder.forward

    def forward(self, *args, attention_mask=None, **given):
        return inner(*args, attention_mask=None, **given)

    decoder.forward = MethodType(forward, decoder)
    assert error_of((model, encoder)) > 1e-3


def test_pictures_whose_content_is_masked_at_random_are_compared_unmasked(made):
    model, encoder = made
    masking = ExampleEncoder(encoder.processor, TrainConfig(vary=VarySettings(rgb_masking=0.5)))
    assert error_of((model, masking)) < TOLERANCE[torch.float32]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_is_allowed_its_rounding(tiny_families, dtype):
    model, processor = with_fusion(tiny_families["llava"])
    model = copy.deepcopy(model).to(dtype)
    assert error_of((model, ExampleEncoder(processor, TrainConfig()))) < TOLERANCE[dtype]


def test_without_two_dialogues_about_a_picture_there_is_nothing_to_compare(made):
    assert error_of(made, picture_example(dialogues=1), text_example()) is None
    long = ExampleEncoder(made[1].processor, TrainConfig(max_tokens=30))
    assert error_of((made[0], long), picture_example(dialogues=3)) is None
    assert error_of(made, picture_example(dialogues=1), picture_example(1, 4)) < TOLERANCE[torch.float32]


def test_flex_attention_is_taken_on_a_gpu_where_the_model_has_it(tiny_families):
    llava, qwen = (copy.deepcopy(tiny_families[name].model) for name in ("llava", "qwen2.5-vl"))
    assert choose_attention(llava, "auto", "cpu") == "sdpa"
    assert choose_attention(llava, "auto", "cuda") == "flex_attention"
    assert llava.model.vision_tower.config._attn_implementation == "sdpa"
    assert choose_attention(qwen, "auto", "cuda") == "sdpa"
    assert qwen.get_decoder().config._attn_implementation == "sdpa"
    with pytest.raises(SdvlmError, match="does not take attention 'flex_attention'"):
        choose_attention(qwen, "flex_attention", "cuda")
