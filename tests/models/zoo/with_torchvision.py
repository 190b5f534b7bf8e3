"""Tiny models of families whose image processors exist only with torchvision."""

from __future__ import annotations

from typing import Any

import transformers
from tests.models.zoo.base import SIZES_OF_TEXT, Tiny, ids_of_text, llama, made, siglip, template, tokenizer_with
from transformers import (
    Cohere2Config,
    Cohere2VisionConfig,
    Cohere2VisionForConditionalGeneration,
    Cohere2VisionProcessor,
    Lfm2Config,
    Lfm2VlConfig,
    Lfm2VlForConditionalGeneration,
    Lfm2VlProcessor,
    Llama4Config,
    Llama4ForConditionalGeneration,
    Llama4Processor,
    PerceptionLMConfig,
    PerceptionLMForConditionalGeneration,
    PerceptionLMProcessor,
)

SIDE, PATCH = 28, 7
SQUARE = {"height": SIDE, "width": SIDE}
WIDTH = 40
TOWER = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": PATCH}


def _pictures(name: str, **settings: Any) -> Any:
    return getattr(transformers, name)(**settings)  # whose mere import needs torchvision


def llama4() -> Tiny:
    marks = ("<|image_start|>", "<|image_end|>", "<|tile_x_separator|>", "<|tile_y_separator|>", "<|patch|>")
    tokenizer = tokenizer_with("<|image|>", *marks)
    processor = Llama4Processor(
        _pictures("Llama4ImageProcessor", size=SQUARE, max_patches=4),
        tokenizer,
        patch_size=PATCH,
        chat_template=template("<|image|>"),
    )
    experts = {"num_local_experts": 2, "intermediate_size_mlp": 64, "no_rope_layers": [1, 0]}
    config = Llama4Config(
        vision_config={
            **TOWER,
            "intermediate_size": 4 * TOWER["hidden_size"],
            "image_size": SIDE,
            **dict.fromkeys(("vision_output_dim", "projector_input_dim", "projector_output_dim"), WIDTH),
        },
        text_config={**SIZES_OF_TEXT, **ids_of_text(tokenizer), "head_dim": 8, **experts},
        boi_token_index=tokenizer.convert_tokens_to_ids("<|image_start|>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<|image_end|>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<|patch|>"),
    )
    return made("llama4", Llama4ForConditionalGeneration, config, processor, 2 * PATCH)


def cohere2_vision() -> Tiny:
    tokenizer = tokenizer_with(
        boi_token="<|START_OF_IMG|>",
        eoi_token="<|END_OF_IMG|>",
        image_token="<|IMG_PATCH|>",
        img_line_break_token="<|IMG_LINE_BREAK|>",
    )
    pictures = _pictures("Cohere2VisionImageProcessor", size=SQUARE, max_patches=4)
    pictures.patch_size = SIDE // PATCH // 2  # tokens along the side of a tile, whatever it is called
    config = Cohere2VisionConfig(
        vision_config=siglip(SIDE, PATCH),
        text_config=Cohere2Config(**SIZES_OF_TEXT, **ids_of_text(tokenizer), sliding_window=64),
        image_token_id=tokenizer.image_token_id,
        downsample_factor=2,
        alignment_intermediate_size=64,
    )
    processor = Cohere2VisionProcessor(pictures, tokenizer, chat_template=template("<|IMG_PATCH|>"))
    return made("cohere2_vision", Cohere2VisionForConditionalGeneration, config, processor, 2 * PATCH)


def lfm2_vl() -> Tiny:
    """Of the pictures of the tests, some are cut into tiles and some are not."""
    places = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)]
    tokenizer = tokenizer_with("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *places)
    pictures = _pictures(
        "Lfm2VlImageProcessor",
        encoder_patch_size=PATCH,
        tile_size=SIDE,
        max_tiles=4,
        min_image_tokens=4,
        max_image_tokens=12,
        max_pixels_tolerance=2.2,
    )
    config = Lfm2VlConfig(
        vision_config={
            "model_type": "siglip2_vision_model",
            **TOWER,
            "intermediate_size": 32,
            "num_patches": 16,
            "vision_use_head": False,
        },
        text_config=Lfm2Config(
            **SIZES_OF_TEXT, **ids_of_text(tokenizer), layer_types=["conv", "full_attention"], block_multiple_of=8
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        projector_hidden_size=32,
    )
    processor = Lfm2VlProcessor(pictures, tokenizer, chat_template=template("<image>"))
    return made("lfm2_vl", Lfm2VlForConditionalGeneration, config, processor, 2 * PATCH)


def perception_lm() -> Tiny:
    tokenizer = tokenizer_with(image_token="<|image|>", video_token="<|video|>")
    processor = PerceptionLMProcessor(
        video_processor=_pictures("PerceptionLMVideoProcessor", size=SQUARE),
        image_processor=_pictures("PerceptionLMImageProcessor", tile_size=SIDE, max_num_tiles=4),
        tokenizer=tokenizer,
        patch_size=PATCH,
        chat_template=template("<|image|>"),
    )
    tower = {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": SIDE, "patch_size": PATCH}
    config = PerceptionLMConfig(
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_core_large_patch14_336",
            "model_args": {**tower, "global_pool": "", "use_post_transformer_norm": False, "ref_feat_shape": [4, 4]},
        },
        text_config=llama(tokenizer),
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        projector_pooling_ratio=2,
    )
    return made("perception_lm", PerceptionLMForConditionalGeneration, config, processor, 2 * PATCH)


WITH_TORCHVISION = {
    "llama4": llama4,
    "cohere2_vision": cohere2_vision,
    "lfm2_vl": lfm2_vl,
    "perception_lm": perception_lm,
}
