"""The nano model's own tokenizer: byte-level BPE trained on the question templates.

Digits are always single tokens, so 1.84 is four tokens whatever was seen in training; bytes cover every other text.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

__all__ = ["SPECIAL_TOKENS", "special_id", "train_tokenizer"]

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<image>", "<user>", "<assistant>")


def special_id(tokenizer: Tokenizer, mark: str) -> int:
    """Id of one of ``SPECIAL_TOKENS``.

    Raises:
        KeyError: the tokenizer has no such token.
    """
    number = tokenizer.token_to_id(mark)
    if number is None:
        raise KeyError(mark)
    return int(number)


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1024) -> Tokenizer:
    """Train on texts (questions and answers, special tokens left out). Deterministic for the same texts in order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d|[^\w\s]|\s?[^\W\d]+|\s"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
