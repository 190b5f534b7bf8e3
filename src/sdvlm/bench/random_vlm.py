"""Vision-language models with random weights in the sizes that are fine-tuned, and their processors."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from sdvlm.bench.random_llava import bench_questions, random_llava
from sdvlm.models.families import ImageOnlyQwenProcessor
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig, build_processor
from sdvlm.nano.tokenizer import train_tokenizer
from sdvlm.types import SdvlmError

__all__ = ["SHAPES", "random_vlm"]

SHAPES = ("toy", "small", "llava-1.5-7b", "qwen-toy", "qwen2.5-vl-7b")
"""``small``: LLaVA with 576 image tokens for a CPU; the 7b ones have the published sizes; toys are for tests"""

_QWEN_MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_QWEN_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% for c in m.content %}{{ '<|vision_start|><|image_pad|><|vision_end|>' if c.type == 'image' else c.text }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def random_vlm(shape: str, device: str, dtype: torch.dtype) -> tuple[DepthVLM, DepthProcessor]:
    """A model with the fusion ``dpe``, its weights made on the device.

    Raises:
        SdvlmError: no such shape.
    """
    if shape not in SHAPES:
        raise SdvlmError(f"no shape '{shape}'; choose one of {', '.join(SHAPES)}")
    torch.manual_seed(0)
    if shape in ("toy", "small"):
        width, layers = (128, 2) if shape == "toy" else (1024, 4)
        model, processor = random_llava(width, layers, "dpe")
        module: torch.nn.Module = model
        module.to(device=torch.device(device), dtype=dtype)
        return model, processor
    vlm: Any
    hf: Any
    vlm, hf = _llava(device, dtype) if shape.startswith("llava") else _qwen(device, dtype, toy=shape == "qwen-toy")
    model = DepthVLM.from_vlm(vlm, "dpe")
    return model, DepthProcessor.for_model(model, hf)


def _llava(device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """LLaVA-1.5-7B's sizes, with a small tokenizer under its vocabulary."""
    tokenizer = train_tokenizer(bench_questions(100))
    processor = build_processor(NanoConfig(image_size=336, patch_size=14), tokenizer)
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
        patch_size=14,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=32064, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, max_position_embeddings=8192,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=processor.image_token_id, vision_feature_layer=-2
    )
    return _made(LlavaForConditionalGeneration, config, device, dtype), processor


def _qwen(device: str, dtype: torch.dtype, toy: bool) -> tuple[Any, Any]:
    """Qwen2.5-VL-7B's sizes, with a small tokenizer under its vocabulary."""
    inner = train_tokenizer(bench_questions(100))
    inner.add_special_tokens(list(_QWEN_MARKS))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>")
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 3136, "longest_edge": 12845056}, patch_size=14, merge_size=2
    )
    processor = ImageOnlyQwenProcessor(image_processor=images, tokenizer=tokenizer, chat_template=_QWEN_TEMPLATE)
    ids: dict[str, Any] = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in _QWEN_MARKS}
    vision: dict[str, Any] = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
        "spatial_merge_size": 2, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "out_hidden_size": 3584,
    }  # fmt: skip
    text: dict[str, Any] = {
        "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "eos_token_id": ids["<|im_end|>"], "bos_token_id": None, "pad_token_id": 0,
    }  # fmt: skip
    if toy:
        vision |= {"depth": 2, "hidden_size": 64, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 128}
        vision |= {"fullatt_block_indexes": [1]}
        text |= {"vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
        text |= {"num_attention_heads": 4, "num_key_value_heads": 2}
        text["rope_parameters"]["mrope_section"] = [4, 6, 6]
    config = Qwen2_5_VLConfig(
        vision_config=vision, text_config=text, image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    return _made(Qwen2_5_VLForConditionalGeneration, config, device, dtype), processor


def _made(kind: Any, config: Any, device: str, dtype: torch.dtype) -> Any:
    """Weights made where and as they are wanted, not moved there."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return kind(config)
    finally:
        torch.set_default_dtype(before)
