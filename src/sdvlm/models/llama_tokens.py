"""Token ids as released LLaVA code gets them: from transformers 4.37's slow, sentencepiece-based Llama tokenizer.

transformers 5 has no slow Llama tokenizer, and the fast one that it builds from the same files gives other ids to a
text that begins with a space (of "▁▁How" it drops the first "▁"). The pieces and merges are the same in both, so the
slow rule is replayed here around them: a "▁" before the text, special tokens cut out, the rest merged as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["begin_ids", "is_legacy", "keep_legacy", "slow_llama_ids", "slow_llama_text"]

_SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def begin_ids(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text: its BOS, or nothing."""
    ids: list[int] = tokenizer("")["input_ids"]
    return ids[:1] if ids and ids[0] == tokenizer.bos_token_id else []


def is_legacy(tokenizer: Any) -> bool:
    """Whether the tokenizer says ``legacy``; False where it does not say."""
    said = getattr(tokenizer, "legacy", None)
    return bool(tokenizer.init_kwargs.get("legacy", False) if said is None else said)


def keep_legacy(tokenizer: Any) -> None:
    """Have ``legacy`` saved with the tokenizer, which transformers 5 reads but does not write."""
    if hasattr(tokenizer, "legacy"):
        tokenizer.init_kwargs["legacy"] = bool(tokenizer.legacy)


def slow_llama_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text by itself, without BOS.

    ``legacy=False`` (what LLaVA's checkpoints say): one "▁" before the text, also where it begins with a space, and
    none behind a special token. ``legacy=True``: one before each piece between special tokens. A tokenizer that is not
    of Llama's kind (byte-level, unigram) tokenises in its own way.

    Args:
        tokenizer: a fast tokenizer of transformers 5.
        text: any; ids of an empty one are empty.

    Raises:
        SdvlmError: the tokenizer is not a fast one.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise SdvlmError(f"{type(tokenizer).__name__} is a slow tokenizer; a fast one (tokenizer.json) is wanted")
    if not _is_llama(backend):
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
    if not text:
        return []
    special = {str(token): index for index, token in tokenizer.added_tokens_decoder.items()}
    legacy = is_legacy(tokenizer)
    text = text if legacy else _SPACE + text.replace(_SPACE, " ")
    out: list[int] = []
    for index, piece in enumerate(_cut(text, special)):
        if piece in special:
            if index == 1 and out == _lone_space(backend) and not legacy and piece in tokenizer.all_special_tokens:
                out = []  # nothing but the added "▁" stood before the special token
            out.append(special[piece])
        elif piece:
            out += [t.id for t in backend.model.tokenize((_SPACE * legacy + piece).replace(" ", _SPACE))]
    return out


def slow_llama_text(tokenizer: Any, ids: Iterable[int]) -> str:
    """Text of generated tokens without special ones, white space at its ends left out.

    Runs of byte pieces become the characters they spell, each byte that spells none "\ufffd"; transformers 5 gives up
    whole runs for one bad byte, as the end of an answer cut short is.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not _is_llama(backend):
        return str(tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
    special = set(tokenizer.all_special_ids)
    spelt = bytearray()
    for piece in tokenizer.convert_ids_to_tokens([one for one in map(int, ids) if one not in special]):
        if piece is None:
            continue  # a row of the model's vocabulary that the tokenizer has no piece for
        byte = _BYTE.fullmatch(piece)
        spelt += bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE, " ").encode()
    text, data = "", bytes(spelt)
    while True:
        try:
            return (text + data.decode()).strip()
        except UnicodeDecodeError as error:
            text += data[: error.start].decode() + "\ufffd"
            data = data[error.start + 1 :]


def _cut(text: str, special: Mapping[str, int]) -> list[str]:
    """The text cut at special tokens, which are kept: ordinary, special, ordinary, ... The longest match wins."""
    if not special:
        return [text]
    words = sorted(special, key=len, reverse=True)
    return re.split(f"({'|'.join(map(re.escape, words))})", text)


def _lone_space(backend: Any) -> list[int]:
    return [token.id for token in backend.model.tokenize(_SPACE)]


def _is_llama(backend: Any) -> bool:
    """Sentencepiece BPE: merges over characters with "▁" for a space, bytes for what has no piece."""
    model = backend.model
    return type(model).__name__ == "BPE" and model.byte_fallback and backend.token_to_id(_SPACE) is not None
