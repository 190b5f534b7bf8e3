"""Processors that put the queries of a picture before the words by themselves (BLIP-2, InstructBLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import Blip2Processor, InstructBlipProcessor

from sdvlm.types import SdvlmError

__all__ = ["puts_queries_first", "readable_mark", "with_queries"]


class _Mark(str):
    """The mark of a picture, as text and as the token that these processors keep."""

    __slots__ = ()

    @property
    def content(self) -> str:
        return str(self)


def puts_queries_first(processor: Any) -> bool:
    """Whether a processor is of this kind."""
    return isinstance(processor, Blip2Processor | InstructBlipProcessor)


def readable_mark(processor: Any) -> None:
    """Let the mark of a picture be text, where a processor keeps it as a token."""
    if puts_queries_first(processor) and not isinstance(processor.image_token, _Mark):
        processor.image_token = _Mark(getattr(processor.image_token, "content", processor.image_token))


def with_queries(processor: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What it makes of texts that begin with the mark of their one picture, which it is not to see.

    Raises:
        SdvlmError: a text has other marks, or offsets are asked for, which it does not tell.
    """
    name, mark = type(processor).__name__, processor.image_token
    for text in given["text"]:
        if text.count(mark) != 1 or not text.startswith(mark):
            raise SdvlmError(
                f"{name} takes one picture, and before all words, and got a prompt with {text.count(mark)} marks of "
                "pictures; the fusion 'depth_prompt' writes depth into the words and works"
            )
    known = {key: value for key, value in given.items() if key != "return_text_replacement_offsets"}
    if known.pop("return_offsets_mapping", False):
        raise SdvlmError(f"{name} does not tell where answers lie behind its queries; give labels of your own")
    texts = [text.removeprefix(mark).lstrip("\n") for text in given["text"]]
    return dict(processor(**{**known, "text": texts}))
