"""Tiny models of families that see a picture as tiles beside a thumbnail."""

from __future__ import annotations

from typing import Any

from tests.models.real_processors import image_processor, with_video_half
from tests.models.zoo.base import SIZES_OF_TEXT, Tiny, clip, ids_of_text, llama, made, siglip, template, tokenizer_with
from transformers import (
    AyaVisionConfig,
    AyaVisionForConditionalGeneration,
    AyaVisionProcessor,
    Cohere2Config,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Ovis2Config,
    Ovis2ForConditionalGeneration,
    Ovis2Processor,
    Qwen2Config,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.smolvlm import processing_smolvlm
from transformers.utils.import_utils import is_torchvision_available

SIDE, PATCH = 28, 7
SQUARE = {"height": SIDE, "width": SIDE}
PINPOINTS = [[28, 56], [56, 28], [56, 56], [28, 84], [84, 28]]


def llava_next() -> Tiny:
    tokenizer = tokenizer_with("<image>")
    pictures = image_processor(
        "LlavaNextImageProcessor", size={"shortest_edge": SIDE}, crop_size=SQUARE, image_grid_pinpoints=PINPOINTS
    )
    processor = LlavaNextProcessor(
        pictures,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=template("<image>"),
        num_additional_image_tokens=1,
    )
    config = LlavaNextConfig(
        vision_config=clip(SIDE, PATCH),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
    )
    return made("llava_next", LlavaNextForConditionalGeneration, config, processor, PATCH)


def llava_onevision() -> Tiny:
    tokenizer = tokenizer_with("<image>", "<video>")
    pictures = image_processor("LlavaOnevisionImageProcessor", size=SQUARE, image_grid_pinpoints=PINPOINTS)
    processor = with_video_half(
        "LlavaOnevisionProcessor",
        "LlavaOnevisionVideoProcessor",
        {"size": SQUARE},
        image_processor=pictures,
        tokenizer=tokenizer,
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=template("<image>"),
    )
    config = LlavaOnevisionConfig(
        vision_config=siglip(SIDE, PATCH),
        text_config=Qwen2Config(**SIZES_OF_TEXT, **ids_of_text(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_select_strategy="full",
    )
    return made("llava_onevision", LlavaOnevisionForConditionalGeneration, config, processor, PATCH)


def internvl() -> Tiny:
    tokenizer = tokenizer_with(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    processor = with_video_half(
        "InternVLProcessor",
        "InternVLVideoProcessor",
        {"size": SQUARE},
        image_processor=image_processor("GotOcr2ImageProcessor", size=SQUARE, max_patches=4),
        tokenizer=tokenizer,
        image_seq_length=(SIDE // PATCH // 2) ** 2,
        chat_template=template("<IMG_CONTEXT>"),
    )
    config = InternVLConfig(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [SIDE, SIDE],
            "patch_size": [PATCH, PATCH],
        },
        text_config=Qwen2Config(**SIZES_OF_TEXT, **ids_of_text(tokenizer)),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=(SIDE // PATCH // 2) ** 2,
    )
    return made("internvl", InternVLForConditionalGeneration, config, processor, 2 * PATCH)


def aya_vision() -> Tiny:
    marks = ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL")
    tokenizer = tokenizer_with("<image>", *marks)
    processor = AyaVisionProcessor(
        image_processor("GotOcr2ImageProcessor", size=SQUARE, max_patches=4),
        tokenizer,
        patch_size=PATCH,
        img_size=SIDE,
        downsample_factor=2,
        chat_template=template("<image>"),
    )
    config = AyaVisionConfig(
        vision_config=siglip(SIDE, PATCH),
        text_config=Cohere2Config(**SIZES_OF_TEXT, **ids_of_text(tokenizer), sliding_window=64),
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        downsample_factor=2,
        vision_feature_layer=-1,
        adapter_layer_norm_eps=1e-6,
    )
    return made("aya_vision", AyaVisionForConditionalGeneration, config, processor, 2 * PATCH)


def idefics3() -> Tiny:
    tokenizer = tokenizer_with(
        "<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<row_1_col_1>", "<row_1_col_2>"
    )
    pictures = image_processor(
        "Idefics3ImageProcessor",
        size={"longest_edge": 2 * SIDE},
        max_image_size={"longest_edge": SIDE},
        return_row_col_info=True,
    )
    processor = Idefics3Processor(
        pictures, tokenizer, image_seq_len=(SIDE // PATCH // 2) ** 2, chat_template=template("<image>")
    )
    return made("idefics3", Idefics3ForConditionalGeneration, _idefics(Idefics3Config, tokenizer), processor, 14)


def _idefics(cls: Any, tokenizer: Any) -> Any:
    return cls(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        text_config=llama(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )


def smolvlm() -> Tiny:
    """Without torchvision, ``num2words`` is left out too: its processor writes numbers of video frames with it."""
    if not is_torchvision_available():
        processing_smolvlm.num2words = processing_smolvlm.num2words or str
    tokenizer = tokenizer_with("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
    pictures = image_processor(
        "SmolVLMImageProcessor",
        size={"longest_edge": 2 * SIDE},
        max_image_size={"longest_edge": SIDE},
        return_row_col_info=True,
    )
    processor = with_video_half(
        "SmolVLMProcessor",
        "SmolVLMVideoProcessor",
        {"size": {"longest_edge": SIDE}, "max_image_size": {"longest_edge": SIDE}, "num_frames": 4, "fps": 1},
        image_processor=pictures,
        tokenizer=tokenizer,
        image_seq_len=(SIDE // PATCH // 2) ** 2,
        chat_template=template("<image>"),
    )
    return made("smolvlm", SmolVLMForConditionalGeneration, _idefics(SmolVLMConfig, tokenizer), processor, 14)


def ovis2() -> Tiny:
    marks = ("<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    tokenizer = tokenizer_with("<image>", *marks)
    processor = Ovis2Processor(
        image_processor("Ovis2ImageProcessor", size=SQUARE, crop_to_patches=True, max_patches=4),
        tokenizer,
        chat_template=template("<image>"),
        image_seq_length=(SIDE // PATCH // 2) ** 2,
    )
    config = Ovis2Config(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
            "hidden_stride": 2,
            "vocab_size": 64,
            "num_visual_indicator_tokens": 5,
            "tokenize_function": "softmax",
        },
        text_config={"model_type": "qwen2", **SIZES_OF_TEXT, **ids_of_text(tokenizer)},
        hidden_size=32,
        vocab_size=len(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=[tokenizer.convert_tokens_to_ids(one) for one in marks[1:]],
    )
    return made("ovis2", Ovis2ForConditionalGeneration, config, processor, 2 * PATCH)


TILED = {
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "aya_vision": aya_vision,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "ovis2": ovis2,
}
