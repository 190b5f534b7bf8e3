"""Tiny models of families that see each picture once, at a size of its own."""

from __future__ import annotations

import sys

from tests.models.real_processors import image_processor, with_video_half
from tests.models.zoo.base import SIZES_OF_TEXT, Tiny, ids_of_text, llama, made, template, tokenizer_with
from transformers import (
    Gemma4AudioFeatureExtractor,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralVisionConfig,
)
from transformers.models.pixtral import image_processing_pil_pixtral
from transformers.utils.import_utils import is_torchvision_available

PATCH = 8


def mistral3() -> Tiny:
    """Without torchvision: its processor takes one function of sizes from a module that imports it; another has it."""
    if not is_torchvision_available():
        name = "transformers.models.pixtral.image_processing_pixtral"
        sys.modules.setdefault(name, image_processing_pil_pixtral)
    from transformers.models.pixtral.processing_pixtral import PixtralProcessor

    tokenizer = tokenizer_with("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    pictures = image_processor(
        "PixtralImageProcessor", size={"longest_edge": 80}, patch_size={"height": PATCH, "width": PATCH}
    )
    processor = PixtralProcessor(
        pictures, tokenizer, patch_size=PATCH, spatial_merge_size=2, chat_template=template("[IMG]")
    )
    config = Mistral3Config(
        vision_config=PixtralVisionConfig(
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=80,
            patch_size=PATCH,
        ),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
    )
    return made("mistral3", Mistral3ForConditionalGeneration, config, processor, 16)


def gemma4() -> Tiny:
    names = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    audio = {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    tokenizer = tokenizer_with("<|video|>", **names, **audio)
    sizes = {"patch_size": PATCH, "max_soft_tokens": 70, "pooling_kernel_size": 2}
    processor = with_video_half(
        "Gemma4Processor",
        "Gemma4VideoProcessor",
        sizes,
        image_processor=image_processor("Gemma4ImageProcessor", **sizes),
        tokenizer=tokenizer,
        chat_template=template("<|image|>"),
        image_seq_length=70,
        **({"feature_extractor": Gemma4AudioFeatureExtractor()} if is_torchvision_available() else {}),
    )
    config = Gemma4Config(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "patch_size": PATCH,
            "pooling_kernel_size": 2,
            "position_embedding_size": 128,
        },
        text_config={
            **SIZES_OF_TEXT,
            **ids_of_text(tokenizer),
            "head_dim": 8,
            "global_head_dim": 8,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": len(tokenizer),
            "sliding_window": 64,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        audio_config=None,
        image_token_id=tokenizer.image_token_id,
        boi_token_id=tokenizer.boi_token_id,
        eoi_token_id=tokenizer.eoi_token_id,
        audio_token_id=tokenizer.audio_token_id,
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
    )
    return made("gemma4", Gemma4ForConditionalGeneration, config, processor, 2 * PATCH)


RAGGED = {"mistral3": mistral3, "gemma4": gemma4}
