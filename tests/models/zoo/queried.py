"""Tiny models of families whose language model reads learned queries of a picture: no token looks at a place."""

from __future__ import annotations

from typing import Any

from tests.models.zoo.base import SIZES_OF_TEXT, Tiny, ids_of_text, llama, made, template, tokenizer_with
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

QUERIES, SIDE, PATCH = 4, 56, 14
_HEADS = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def idefics2() -> Tiny:
    tokenizer = tokenizer_with("<end_of_utterance>", image_token="<image>", image_boundary_token="<fake>")
    pictures = Idefics2ImageProcessorPil(size={"shortest_edge": 28, "longest_edge": 84}, do_image_splitting=False)
    processor = Idefics2Processor(pictures, tokenizer, image_seq_len=QUERIES, chat_template=template("<image>"))
    config = Idefics2Config(
        vision_config={"hidden_size": 24, "image_size": 84, "patch_size": PATCH, **_HEADS},
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": QUERIES,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 16,
            "num_key_value_heads": 2,
        },
        text_config={"model_type": "mistral", **SIZES_OF_TEXT, **ids_of_text(tokenizer), "sliding_window": None},
        image_token_id=tokenizer.image_token_id,
    )
    return made("idefics2", Idefics2ForConditionalGeneration, config, processor, PATCH)


def _blip(name: str, config: Any, model: Any, processor: Any, *more: Any) -> Tiny:
    tokenizer = tokenizer_with("<image>")
    pictures = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    settings = config(
        vision_config={"hidden_size": 24, "image_size": SIDE, "patch_size": PATCH, **_HEADS},
        qformer_config={"hidden_size": 32, "encoder_hidden_size": 24, "vocab_size": len(tokenizer), **_HEADS},
        text_config=llama(tokenizer).to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    made_of = processor(pictures, tokenizer, *(tokenizer for _ in more), num_query_tokens=QUERIES)
    return made(name, model, settings, made_of, PATCH)


def blip2() -> Tiny:
    return _blip("blip-2", Blip2Config, Blip2ForConditionalGeneration, Blip2Processor)


def instructblip() -> Tiny:
    return _blip(
        "instructblip", InstructBlipConfig, InstructBlipForConditionalGeneration, InstructBlipProcessor, "qformer"
    )


QUERIED = {"idefics2": idefics2, "blip-2": blip2, "instructblip": instructblip}
