"""Chunks tokenise as transformers 4.37's slow Llama tokenizer did.

The tables were told by hand from its code (``LlamaTokenizer.tokenize``, ``_tokenize``), and checked when this was
written against sentencepiece on 40,000 random texts, legacy and not.
"""

from __future__ import annotations

import pytest

from sdvlm.models.llama_tokens import begin_ids, slow_llama_ids, slow_llama_text

from .conftest import train_tokenizer
from .llama_llava import llama_tokenizer

CASES = [
    ("", []),
    ("How tall", ["▁How", "▁tall"]),
    (" How", ["▁", "▁How"]),
    ("  How", ["▁", "▁", "▁How"]),
    ("▁How", ["▁", "▁How"]),
    (" ", ["▁", "▁"]),
    ("How ", ["▁How", "▁"]),
    ("\nHow", ["▁", "<0x0A>", "H", "ow"]),
    ("\n How", ["▁", "<0x0A>", "▁How"]),
    ("é", ["▁", "<0xC3>", "<0xA9>"]),
    ("\u3000", ["▁", "<0xE3>", "<0x80>", "<0x80>"]),
    ("</s>How", ["</s>", "H", "ow"]),
    (" </s>", ["▁", "▁", "</s>"]),
    ("How</s>tall", ["▁How", "</s>", "t", "al", "l"]),
    ("How</s> tall", ["▁How", "</s>", "▁tall"]),
    ("<s></s>", ["<s>", "</s>"]),
    ("</s", ["▁", "<", "/", "s"]),
]
LEGACY = [
    ("", []),
    (" How", ["▁", "▁How"]),
    ("</s>How", ["</s>", "▁How"]),
    ("How</s>tall", ["▁How", "</s>", "▁tall"]),
    ("How</s> tall", ["▁How", "</s>", "▁", "▁tall"]),
]


@pytest.mark.parametrize(("text", "pieces"), CASES)
def test_a_text_gets_the_pieces_of_the_slow_tokenizer(text: str, pieces: list[str]) -> None:
    tokenizer = llama_tokenizer()
    assert tokenizer.convert_ids_to_tokens(slow_llama_ids(tokenizer, text)) == pieces


@pytest.mark.parametrize(("text", "pieces"), LEGACY)
def test_a_legacy_tokenizer_puts_a_space_before_every_piece(text: str, pieces: list[str]) -> None:
    tokenizer = llama_tokenizer(legacy=True)
    assert tokenizer.convert_ids_to_tokens(slow_llama_ids(tokenizer, text)) == pieces


@pytest.mark.parametrize("text", ["How tall is it?", "It is 0.75 m.\nHow?", "é 漢 —", "a  b"])
def test_where_nothing_differs_the_ids_are_those_of_transformers_5(text: str) -> None:
    tokenizer = llama_tokenizer()
    assert begin_ids(tokenizer) + slow_llama_ids(tokenizer, text) == tokenizer(text)["input_ids"]


def test_the_way_a_tokenizer_was_stored_does_not_matter() -> None:
    """``tokenizer.json`` has the leading space as a normalizer, or as a pre-tokenizer, or transformers remakes it."""
    from tokenizers import normalizers

    plain, stored = llama_tokenizer(), llama_tokenizer()
    backend = stored.backend_tokenizer
    backend.pre_tokenizer = None
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    for text, _ in CASES:
        assert slow_llama_ids(stored, text) == slow_llama_ids(plain, text)


def test_a_tokenizer_of_another_kind_goes_its_own_way() -> None:
    tokenizer = train_tokenizer(["<pad>", "<s>", "</s>"], "<s>", "</s>")
    text = " How far is it?"
    assert slow_llama_ids(tokenizer, text) == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert begin_ids(tokenizer) == [tokenizer.bos_token_id]
    assert begin_ids(train_tokenizer(["<pad>", "</s>"], None, "</s>")) == []


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["▁How", "▁tall", "</s>"], "How tall"),
        (["▁", "<0xC3>", "<0xA9>", "t"], "ét"),
        (["<0xE6>", "<0xBC>"], "\ufffd\ufffd"),  # cut short: one for each byte, as sentencepiece has it
        (["<0xFA>", "<0x57>", "H", "<0xC3>", "<0xA9>", "<0x57>"], "\ufffdWHéW"),
        (["<s>", "<0x0A>", "H", "<0x0A>"], "H"),
        ([], ""),
    ],
)
def test_generated_bytes_are_read_as_sentencepiece_reads_them(pieces: list[str], text: str) -> None:
    tokenizer = llama_tokenizer()
    assert slow_llama_text(tokenizer, tokenizer.convert_tokens_to_ids(pieces)) == text
