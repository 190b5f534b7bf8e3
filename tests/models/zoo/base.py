"""Parts that the builders of tiny models share."""

from __future__ import annotations

from typing import Any

from tests.models.conftest import LLAVA_TEMPLATE, Tiny, _seeded, train_tokenizer
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast, SiglipVisionConfig

__all__ = ["SIZES_OF_TEXT", "Tiny", "clip", "llama", "made", "siglip", "template", "tokenizer_with"]

SIZES_OF_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def tokenizer_with(*special: str, **named: str) -> Any:
    """A trained byte-level tokenizer; ``named`` become attributes (``image_token="<image>"``)."""
    tokens = ["<pad>", "<s>", "</s>", *special, *[one for one in named.values() if one not in special]]
    trained = train_tokenizer(tokens, "<s>", "</s>")
    marks = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=trained.backend_tokenizer, extra_special_tokens=dict(named), **marks
    )


def ids_of_text(tokenizer: Any) -> dict[str, Any]:
    return {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def llama(tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(**SIZES_OF_TEXT, **ids_of_text(tokenizer))


def clip(side: int, patch: int) -> CLIPVisionConfig:
    return CLIPVisionConfig(**_tower(side, patch))


def siglip(side: int, patch: int) -> SiglipVisionConfig:
    return SiglipVisionConfig(**_tower(side, patch), vision_use_head=False)


def _tower(side: int, patch: int) -> dict[str, Any]:
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {**sizes, "image_size": side, "patch_size": patch}


def template(image: str) -> str:
    """A chat template that writes ``image`` for each picture."""
    return LLAVA_TEMPLATE.replace("<image>", image)


def made(name: str, cls: Any, config: Any, processor: Any, patch: int) -> Tiny:
    """The model with seeded weights."""
    return Tiny(name, _seeded(lambda: cls(config)), processor, patch)
