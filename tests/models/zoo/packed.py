"""Tiny models of families whose tower takes packed patches of pictures of any size."""

from __future__ import annotations

from typing import Any

from tests.models.conftest import tiny_qwen
from tests.models.real_processors import image_processor, with_video_half
from tests.models.zoo.base import SIZES_OF_TEXT, Tiny, ids_of_text, made, template, tokenizer_with
from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

PATCH = 8
SPECIAL = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
VISION = {
    "depth": 2,
    "num_heads": 2,
    "patch_size": PATCH,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
}


def _tokens(tokenizer: Any) -> dict[str, int]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return {name: tokenizer.convert_tokens_to_ids(one) for name, one in zip(names, SPECIAL, strict=True)}


def _processor(name: str, tokenizer: Any) -> Any:
    sizes = {"size": {"shortest_edge": 256, "longest_edge": 256 * 48}, "patch_size": PATCH, "merge_size": 2}
    return with_video_half(
        name,
        name.replace("Processor", "VideoProcessor"),
        sizes,
        image_processor=image_processor("Qwen2VLImageProcessor", **sizes),
        tokenizer=tokenizer,
        chat_template=template("<|vision_start|><|image_pad|><|vision_end|>"),
    )


def qwen2_vl() -> Tiny:
    tokenizer = tokenizer_with(*SPECIAL)
    config = Qwen2VLConfig(
        vision_config={**VISION, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 1},
        text_config={**SIZES_OF_TEXT, **ids_of_text(tokenizer), "rope_parameters": ROPE},
        **_tokens(tokenizer),
    )
    return made("qwen2_vl", Qwen2VLForConditionalGeneration, config, _processor("Qwen2VLProcessor", tokenizer), 16)


def qwen3_vl() -> Tiny:
    return _qwen3("qwen3_vl", Qwen3VLConfig, Qwen3VLForConditionalGeneration)


def qwen3_vl_moe() -> Tiny:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    return _qwen3("qwen3_vl_moe", Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration, **experts)


def _qwen3(name: str, kind: Any, cls: Any, **text: Any) -> Tiny:
    tokenizer = tokenizer_with(*SPECIAL)
    vision = {"hidden_size": 32, "intermediate_size": 32, "out_hidden_size": 32, "num_position_embeddings": 16}
    rope = ROPE | {"mrope_interleaved": True}
    config = kind(
        vision_config={**VISION, **vision, "deepstack_visual_indexes": [0]},
        text_config={**SIZES_OF_TEXT, **ids_of_text(tokenizer), "head_dim": 8, "rope_parameters": rope, **text},
        **_tokens(tokenizer),
    )
    return made(name, cls, config, _processor("Qwen3VLProcessor", tokenizer), 16)


def qwen3_5() -> Tiny:
    tokenizer = tokenizer_with(*SPECIAL)
    vision = {"hidden_size": 32, "intermediate_size": 32, "out_hidden_size": 32, "num_position_embeddings": 16}
    linear = {
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    config = Qwen3_5Config(
        vision_config={**VISION, **vision},
        text_config={
            **SIZES_OF_TEXT,
            **ids_of_text(tokenizer),
            **linear,
            "head_dim": 16,
            "layer_types": ["linear_attention", "full_attention"],
            "rope_parameters": ROPE | {"mrope_interleaved": True, "partial_rotary_factor": 0.5},
        },
        **_tokens(tokenizer),
    )
    return made("qwen3_5", Qwen3_5ForConditionalGeneration, config, _processor("Qwen3VLProcessor", tokenizer), 16)


def glm4v() -> Tiny:
    special = ("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>")
    tokenizer = tokenizer_with(*special, "<|image|>", "<|video|>")
    sizes = {"size": {"shortest_edge": 256, "longest_edge": 256 * 96}, "patch_size": PATCH, "merge_size": 2}
    processor = with_video_half(
        "Glm4vProcessor",
        "Glm4vVideoProcessor",
        sizes,
        image_processor=image_processor("Glm4vImageProcessor", **sizes),
        tokenizer=tokenizer,
        chat_template=template("<|begin_of_image|><|image|><|end_of_image|>"),
    )
    names = ("image_start_token_id", "image_end_token_id", "video_start_token_id", "video_end_token_id")
    ids = {name: tokenizer.convert_tokens_to_ids(one) for name, one in zip(names, special, strict=True)}
    config = Glm4vConfig(
        vision_config={
            **VISION,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "intermediate_size": 32,
            "image_size": 64,
        },
        text_config={**SIZES_OF_TEXT, **ids_of_text(tokenizer), "rope_parameters": ROPE},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        **ids,
    )
    return made("glm4v", Glm4vForConditionalGeneration, config, processor, 16)


PACKED = {
    "qwen2_5_vl": tiny_qwen,
    "qwen2_vl": qwen2_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5": qwen3_5,
    "glm4v": glm4v,
}
