"""Tiny models of families that see each picture once, at one size."""

from __future__ import annotations

from typing import Any

from tests.models.conftest import tiny_llava
from tests.models.real_processors import image_processor, llava_processor
from tests.models.zoo.base import SIZES_OF_TEXT, Tiny, clip, ids_of_text, llama, made, siglip, template, tokenizer_with
from transformers import (
    ConvNextConfig,
    DeepseekVLConfig,
    DeepseekVLForConditionalGeneration,
    DeepseekVLProcessor,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Gemma3TextConfig,
    GemmaConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)

SIDE, PATCH = 56, 14


def _clip_pictures(side: int = SIDE) -> Any:
    return image_processor(
        "CLIPImageProcessor", size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def paligemma() -> Tiny:
    tokenizer = tokenizer_with(image_token="<image>")
    pictures = image_processor("SiglipImageProcessor", size={"height": SIDE, "width": SIDE})
    pictures.image_seq_length = (SIDE // PATCH) ** 2
    processor = PaliGemmaProcessor(pictures, tokenizer, chat_template=template("<image>"))
    config = PaliGemmaConfig(
        vision_config=siglip(SIDE, PATCH),
        text_config=GemmaConfig(**SIZES_OF_TEXT, **ids_of_text(tokenizer), head_dim=8),
        image_token_index=tokenizer.image_token_id,
        projection_dim=32,
    )
    return made("paligemma", PaliGemmaForConditionalGeneration, config, processor, PATCH)


def gemma3(**scan: Any) -> Tiny:
    """``scan``: settings of its image processor for pan and scan, which is off otherwise."""
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = tokenizer_with(**names)
    pictures = image_processor(
        "Gemma3ImageProcessor", size={"height": SIDE, "width": SIDE}, **{"do_pan_and_scan": False, **scan}
    )
    processor = Gemma3Processor(
        pictures, tokenizer, chat_template=template("<start_of_image>"), image_seq_length=(SIDE // PATCH // 2) ** 2
    )
    config = Gemma3Config(
        vision_config=siglip(SIDE, PATCH),
        text_config=Gemma3TextConfig(**SIZES_OF_TEXT, **ids_of_text(tokenizer), head_dim=8, sliding_window=64),
        mm_tokens_per_image=(SIDE // PATCH // 2) ** 2,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    return made("gemma3", Gemma3ForConditionalGeneration, config, processor, 2 * PATCH)


def deepseek_vl() -> Tiny:
    tokenizer = tokenizer_with(image_token="<image_placeholder>")
    pictures = image_processor("DeepseekVLImageProcessor", size={"height": SIDE, "width": SIDE})
    processor = DeepseekVLProcessor(
        pictures, tokenizer, template("<image_placeholder>"), num_image_tokens=(SIDE // PATCH) ** 2
    )
    config = DeepseekVLConfig(
        vision_config=siglip(SIDE, PATCH),
        text_config=llama(tokenizer),
        image_token_id=tokenizer.image_token_id,
    )
    return made("deepseek_vl", DeepseekVLForConditionalGeneration, config, processor, PATCH)


def fast_vlm() -> Tiny:
    """A convolutional tower of transformers in the place of FastViT, which needs timm and mixes all its tokens."""
    tower = ConvNextConfig(hidden_sizes=[24], depths=[1], num_stages=1, patch_size=PATCH, image_size=SIDE)
    tower.hidden_size = 24
    return _fast_vlm(tower, SIDE, PATCH)


def fast_vlm_of_timm() -> Tiny:
    """With FastViT."""
    sizes = {"layers": [1] * 5, "embed_dims": [32, 64, 128, 128, 128]}
    tower = {"model_type": "timm_wrapper", "architecture": "fastvit_mci3", "hidden_size": 256, "model_args": sizes}
    return _fast_vlm(tower, 256, 64)


def _fast_vlm(tower: Any, side: int, patch: int) -> Tiny:
    tokenizer = tokenizer_with("<image>")
    processor = llava_processor(_clip_pictures(side), tokenizer, patch, template("<image>"), class_token=False)
    config = FastVlmConfig(
        vision_config=tower,
        text_config=llama(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(side // patch) ** 2,
    )
    return made("fast_vlm", FastVlmForConditionalGeneration, config, processor, patch)


def vipllava() -> Tiny:
    tokenizer = tokenizer_with("<image>")
    processor = llava_processor(_clip_pictures(), tokenizer, PATCH, template("<image>"))
    config = VipLlavaConfig(
        vision_config=clip(SIDE, PATCH),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layers=[-2, -1],
    )
    return made("vipllava", VipLlavaForConditionalGeneration, config, processor, PATCH)


DENSE = {
    "llava": tiny_llava,
    "vipllava": vipllava,
    "paligemma": paligemma,
    "gemma3": gemma3,
    "deepseek_vl": deepseek_vl,
    "fast_vlm": fast_vlm,
}
