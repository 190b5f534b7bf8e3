"""The tokenizer of an official checkpoint, with a token for pictures.

Official code marks a picture by the number -200, outside the vocabulary. Stock classes want a token inside it, and
adding a row would add a logit. So ``<image>`` takes the place of a piece that no text can produce: a byte that UTF-8
does not have (0xFF, else one of the twelve others), unless the vocabulary has the token already or a row to spare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AddedToken, LlamaTokenizer

from sdvlm.models.llama_tokens import keep_legacy
from sdvlm.models.official.layout import OfficialFolder, read_json
from sdvlm.models.official.sentencepiece import fast_tokenizer_json
from sdvlm.types import SdvlmError

__all__ = ["IMAGE_TOKEN", "image_token_id", "official_tokenizer"]

IMAGE_TOKEN = "<image>"
_NEVER_IN_UTF8 = (*range(0xFF, 0xF4, -1), 0xC1, 0xC0)
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def image_token_id(official: OfficialFolder) -> int:
    """Id that stands for an image token. Raises as :func:`official_tokenizer`."""
    values, file = _tokenizer_json(official)
    return _image_token(values, int(official.config["vocab_size"]), file)[0]


def official_tokenizer(official: OfficialFolder) -> LlamaTokenizer:
    """The tokenizer, from ``tokenizer.json`` or else ``tokenizer.model``.

    Raises:
        SdvlmError: there is neither, it cannot be read or is not Llama's kind, or it has no room for an image token.
    """
    values, file = _tokenizer_json(official)
    index, piece = _image_token(values, int(official.config["vocab_size"]), file)
    vocab = {IMAGE_TOKEN if text == piece else text: number for text, number in values["model"]["vocab"].items()}
    config = official.beside("tokenizer_config.json")
    told = (None if config is None else read_json(config)) or {}
    special = {name: _text(told.get(name)) or usual for name, usual in _SPECIAL.items()}
    known = {*vocab, *(one["content"] for one in values["added_tokens"])}
    pad = _text(told.get("pad_token"))
    limit = official.config.get("tokenizer_model_max_length")  # released code cuts there, nowhere else
    limit = limit or max(told.get("model_max_length") or 0, official.config.get("max_position_embeddings") or 0) or None
    legacy = told.get("legacy") is not False  # an unset one is what the slow tokenizer takes for True
    tokenizer = LlamaTokenizer(
        vocab=vocab,
        merges=[tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in values["model"]["merges"]],
        **special,
        pad_token=pad if pad in known else special["unk_token"],  # as released code sets it
        add_bos_token=bool(told.get("add_bos_token", True)),
        add_eos_token=bool(told.get("add_eos_token", False)),
        legacy=legacy,
        padding_side=official.config.get("tokenizer_padding_side", "right"),
        **({} if limit is None else {"model_max_length": int(limit)}),
    )
    tokenizer.init_kwargs["legacy"] = legacy  # or it is not saved
    for one in sorted(values["added_tokens"], key=lambda token: int(token["id"])):
        if one["content"] not in vocab:
            kept = ("single_word", "lstrip", "rstrip", "normalized", "special")
            tokenizer.add_tokens(AddedToken(one["content"], **{name: one[name] for name in kept if name in one}))
    tokenizer.add_tokens(AddedToken(IMAGE_TOKEN, normalized=False, special=True), special_tokens=True)
    wanted = {one["content"]: int(one["id"]) for one in values["added_tokens"]} | {IMAGE_TOKEN: index}
    moved = [text for text, number in wanted.items() if tokenizer.convert_tokens_to_ids(text) != number]
    if moved:
        raise SdvlmError(
            f"{file} gives ids to {', '.join(moved[:5])} that leave holes in the vocabulary; use the original"
        )
    keep_legacy(tokenizer)
    return tokenizer


def _tokenizer_json(official: OfficialFolder) -> tuple[dict[str, Any], Path]:
    """What ``tokenizer.json`` holds or would hold, and the file it is from."""
    if (file := official.beside("tokenizer.json")) is not None:
        found = read_json(file) or {}
    elif (file := official.beside("tokenizer.model")) is not None:
        found = fast_tokenizer_json(file)
        found["added_tokens"] += _added_beside(official, found["model"]["vocab"])
    else:
        places = " and ".join(str(place) for place in official.places)
        raise SdvlmError(f"no tokenizer.json and no tokenizer.model in {places}; copy it from the base model")
    model = found.get("model") or {}
    if model.get("type") != "BPE" or not model.get("byte_fallback") or not isinstance(model.get("vocab"), dict):
        raise SdvlmError(f"{file} is no BPE tokenizer with byte pieces, as Llama's is; copy it from the base model")
    found.setdefault("added_tokens", [])
    return found, file


def _added_beside(official: OfficialFolder, vocab: dict[str, int]) -> list[dict[str, Any]]:
    """Tokens added to a ``tokenizer.model``: of ``tokenizer_config.json``, or ``added_tokens.json`` of older ones."""
    config, older = official.beside("tokenizer_config.json"), official.beside("added_tokens.json")
    told = (None if config is None else read_json(config)) or {}
    found = [{**one, "id": int(index)} for index, one in (told.get("added_tokens_decoder") or {}).items()]
    named = {one["content"] for one in found}
    plain = (None if older is None else read_json(older)) or {}
    found += [{"content": text, "id": int(index)} for text, index in plain.items() if text not in named]
    return [one for one in found if one["content"] not in vocab]


def _image_token(values: dict[str, Any], rows: int, file: Path) -> tuple[int, str | None]:
    """Id of the image token in a vocabulary of ``rows``, and the piece it takes the place of, if any."""
    vocab = values["model"]["vocab"]
    taken = vocab | {one["content"]: int(one["id"]) for one in values["added_tokens"]}
    used = set(taken.values())
    index: int | None = taken.get(IMAGE_TOKEN)
    piece = None
    if index is None and len(used) == max(used) + 1 < rows:
        index = max(used) + 1
    if index is None:
        piece = next((one for byte in _NEVER_IN_UTF8 if (one := f"<0x{byte:02X}>") in vocab), None)
        if piece is None:
            raise SdvlmError(f"{file} lacks the byte pieces that a Llama tokenizer has; copy it from the base model")
        index = int(vocab[piece])
    if index >= rows:
        raise SdvlmError(
            f"{file} has the image token {index} beyond the model's vocabulary of {rows}; use the original"
        )
    return index, piece


def _text(token: Any) -> str | None:
    """A special token as configs state it: plain, or an object with ``content``."""
    return token.get("content") if isinstance(token, dict) else token
