"""A tiny LLaVA whose tokenizer is Llama's in miniature: what released prompts are tested on without a checkpoint."""

from __future__ import annotations

from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from .conftest import Tiny, _seeded

SPECIAL = ["<unk>", "<s>", "</s>"]
MERGES = [
    ("o", "w"), ("▁", "H"), ("▁H", "ow"), ("▁", "t"), ("a", "l"), ("▁t", "al"), ("▁tal", "l"),
    ("▁", "I"), ("▁I", "t"), ("S", "T"), ("▁", "A"),
]  # fmt: skip


def llama_tokenizer(legacy: bool = False) -> LlamaTokenizer:
    """Bytes, the printable characters, "▁" and a handful of merges, so that pieces can be told by hand."""
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *(chr(code) for code in range(33, 127))]
    pieces += [left + right for left, right in MERGES]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = LlamaTokenizer(
        vocab=vocab, merges=MERGES, pad_token="<unk>", add_bos_token=True, legacy=legacy, model_max_length=2048
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


def tiny_llama_llava(side: int = 56, patch: int = 14) -> Tiny:
    """CLIP tower, two-layer projector, Llama; 16 image tokens."""
    tokenizer = llama_tokenizer()
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    processor = LlavaProcessor(
        LlavaImageProcessorPil(do_pad=True, **sizes),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=side,
            patch_size=patch,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=2048, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return Tiny("llama-llava", _seeded(lambda: LlavaForConditionalGeneration(config)), processor, patch)
