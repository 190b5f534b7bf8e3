"""A Llama tokenizer in miniature: sentencepiece's kind of BPE with bytes, trained on a few texts."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaTokenizer

__all__ = ["small_llama_tokenizer"]

_SPECIAL = ("<unk>", "<s>", "</s>")


def small_llama_tokenizer(texts: Iterable[str], pieces: int = 1000) -> LlamaTokenizer:
    """Trained on texts, whose words then are a token each, as everyday words are for the released tokenizer.

    Args:
        texts: to learn words from.
        pieces: at most, beside the special tokens and 256 bytes.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=[*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=["▁"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    made: LlamaTokenizer = LlamaTokenizer(
        vocab=model["vocab"], merges=merges, pad_token="<unk>", add_bos_token=True, model_max_length=4096
    )
    return made
