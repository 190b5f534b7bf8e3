"""Tiny random vision-language models with real processors: the families every contract test runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.models.real_processors import image_processor, llava_processor, with_video_half
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

CORPUS = [
    "How far is the red chair from the camera? It is 1.25 m away.",
    "Is the blue bed to the left of the curtain? Yes, it is.",
    "What is the height of the table in the picture? 0.74 m",
    "USER: ASSISTANT: user assistant system",
]
QUESTIONS = [
    "How far is the chair from the camera?",
    "Is the bed left of the curtain?",
    "Table?",
    "What is the height of the table, and how far is the curtain from the red chair in the picture?",
    "Yes or no: is it 1.25 m away?",
]
LLAVA_TEMPLATE = (
    "{% for m in messages %}{{ ('USER' if m.role == 'user' else 'ASSISTANT') + ':' }}"
    "{% for c in m.content %}{{ ' <image>' if c.type == 'image' else ' ' + c.text }}{% endfor %}"
    "{{ '</s>' if m.role == 'assistant' else ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% for c in m.content %}{{ '<|vision_start|><|image_pad|><|vision_end|>' if c.type == 'image' else c.text }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(special: list[str], bos: str | None, eos: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few hundred pieces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    extra = {"bos_token": bos} if bos is not None else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token=eos, **extra)


@dataclass(frozen=True)
class Tiny:
    """A family as the contract tests see it."""

    name: str
    model: Any
    processor: Any
    patch: int
    """pixels of a patch, processed picture"""


def _seeded(build: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    model = build().eval()
    for parameter in model.parameters():  # larger than the usual 0.02, so that tiny models differ visibly in answers
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def tiny_llava(
    pad: bool = True, hidden: int = 32, layers: int = 2, side: int = 56, patch: int = 14, vocab: int = 0
) -> Tiny:
    """LLaVA-1.5: CLIP tower, two-layer projector, Llama."""
    tokenizer = train_tokenizer(["<pad>", "<s>", "</s>", "<image>"], "<s>", "</s>")
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    name, padding = ("LlavaImageProcessor", {"do_pad": True}) if pad else ("CLIPImageProcessor", {})
    pictures = image_processor(name, **sizes, **padding)
    processor = llava_processor(pictures, tokenizer, patch, LLAVA_TEMPLATE)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            patch_size=patch,
        ),
        text_config=LlamaConfig(
            vocab_size=vocab or len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return Tiny(
        "llava-pad" if pad else "llava-crop", _seeded(lambda: LlavaForConditionalGeneration(config)), processor, patch
    )


def tiny_qwen() -> Tiny:
    """Qwen2.5-VL: dynamic resolution, windows, 2x2 merge, three-axis positions."""
    special = [
        "<pad>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    tokenizer = train_tokenizer(special, None, "<|im_end|>")
    sizes = {"size": {"shortest_edge": 16 * 16, "longest_edge": 16 * 16 * 48}, "patch_size": 8, "merge_size": 2}
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in special}
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "window_size": 32,
            "fullatt_block_indexes": [1],
            "out_hidden_size": 32,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": None,
            "pad_token_id": 0,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    processor = with_video_half(
        "Qwen2_5_VLProcessor",
        "Qwen2VLVideoProcessor",
        sizes,
        image_processor=image_processor("Qwen2VLImageProcessor", **sizes),
        tokenizer=tokenizer,
        chat_template=QWEN_TEMPLATE,
    )
    return Tiny("qwen2.5-vl", _seeded(lambda: Qwen2_5_VLForConditionalGeneration(config)), processor, 16)


@pytest.fixture(scope="session")
def tinies() -> dict[str, Tiny]:
    """The families, built once; tests must not change their weights."""
    return {tiny.name: tiny for tiny in (tiny_llava(pad=True), tiny_llava(pad=False), tiny_qwen())}


@pytest.fixture(params=["llava-pad", "llava-crop", "qwen2.5-vl"])
def tiny(request: pytest.FixtureRequest, tinies: dict[str, Tiny]) -> Tiny:
    """Each family in turn."""
    return tinies[request.param]
