"""A Llama ``tokenizer.model`` as the ``tokenizer.json`` that transformers reads without further packages.

Released checkpoints hold the sentencepiece file only. Of its protocol buffer four things are wanted: the pieces, their
scores and types, and the kind of model. Merges follow from the scores: a pair merges the earlier, the higher the score
of the piece it makes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["fast_tokenizer_json"]

_UNKNOWN, _CONTROL = 2, 3  # types of pieces
_BPE = 2  # kind of model
_SPACE = "▁"


def fast_tokenizer_json(file: Path) -> dict[str, Any]:
    """What ``tokenizer.json`` would hold.

    Raises:
        SdvlmError: the file is no sentencepiece BPE model with byte pieces.
    """
    try:
        pieces, kind = _read(file.read_bytes())
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise SdvlmError(f"{file} is no sentencepiece model or is cut short; copy it again") from error
    if kind != _BPE or "<0x00>" not in {text for text, _, _ in pieces}:
        raise SdvlmError(f"{file} is no BPE model with byte pieces, as Llama's is; put a tokenizer.json beside it")
    vocab = {text: index for index, (text, _, _) in enumerate(pieces)}
    special = [text for text, _, kind in pieces if kind in (_UNKNOWN, _CONTROL)]
    unknown = next((text for text, _, kind in pieces if kind == _UNKNOWN), None)
    bos = "<s>" if "<s>" in vocab else None
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(vocab[text], text) for text in special],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": _SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None if bos is None else _with_bos(bos, vocab[bos]),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": _merges(pieces, vocab),
        },
    }


def _added(index: int, text: str) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": text, **plain, "special": True}


def _with_bos(bos: str, index: int) -> dict[str, Any]:
    def one(letter: str, number: int) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": bos, "type_id": number}}, {"Sequence": {"id": letter, "type_id": number}}]

    return {
        "type": "TemplateProcessing",
        "single": one("A", 0),
        "pair": one("A", 0) + one("B", 1),
        "special_tokens": {bos: {"id": bos, "ids": [index], "tokens": [bos]}},
    }


def _merges(pieces: list[tuple[str, float, int]], vocab: dict[str, int]) -> list[list[str]]:
    """Pairs in the order they merge; of the ways to make one piece, the one of the earlier pieces first."""
    found = []
    for text, score, _ in pieces:
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in vocab and right in vocab:
                found.append((-score, vocab[left], vocab[right], left, right))
    return [[left, right] for *_, left, right in sorted(found)]


def _read(data: bytes) -> tuple[list[tuple[str, float, int]], int]:
    """(text, score, type) of each piece, and the kind of model, of a ``ModelProto``."""
    pieces: list[tuple[str, float, int]] = []
    kind = 1
    for number, value in _fields(data):
        if number == 1:
            said = dict(_fields(value))
            (score,) = struct.unpack("<f", said.get(2, b"\0\0\0\0"))
            pieces.append((said[1].decode("utf-8"), score, said.get(3, 1)))
        elif number == 2:  # trainer settings: model_type
            kind = dict(_fields(value)).get(3, 1)
    if not pieces:
        raise ValueError("no pieces")
    return pieces, kind


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a protocol buffer message: whole numbers, or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"field of kind {wire}")
        if at + length > len(data):
            raise ValueError("cut short")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
