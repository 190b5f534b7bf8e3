"""Entries of a JSON list one at a time: memory stays that of one entry, however long the list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sdvlm.types import SdvlmError

__all__ = ["iter_json_list"]

_CHUNK = 1 << 20
_LONGEST = 1 << 28
"""characters of one entry that are read before it is given up as broken"""
_NUMBER_GOES_ON = ".eE+-0123456789"
_SPACE = re.compile(r"[ \t\n\r]*")


def iter_json_list(file: Path) -> Iterator[Any]:
    """Values of a file that holds one JSON list, in UTF-8.

    Raises:
        SdvlmError: it is no JSON, or no list; values before the fault have been given by then.
    """
    with file.open(encoding="utf-8-sig") as stream:
        try:
            yield from _entries(_Text(stream), file)
        except SdvlmError:
            raise
        except (ValueError, RecursionError) as error:
            raise SdvlmError(f"{file}: is no JSON: {error}") from error


class _Text:
    """What is read of a stream and not yet used."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.text, self.at = stream, "", 0
        self.decode = json.JSONDecoder().raw_decode

    def grow(self) -> bool:
        """Read on, more the more there is waiting; False at the end."""
        waiting = self.text[self.at :]
        more = self.stream.read(max(_CHUNK, len(waiting)))
        self.text, self.at = waiting + more, 0
        return bool(more)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            space = _SPACE.match(self.text, self.at)
            assert space is not None  # it matches nothing, too
            self.at = space.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                return ""

    def take(self) -> Any:
        """The next value."""
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except ValueError:
                if len(self.text) - self.at < _LONGEST and self.grow():
                    continue
                raise
            if (end == len(self.text) or self.text[end] in _NUMBER_GOES_ON) and self.grow():
                continue
            self.at = end
            return value


def _entries(text: _Text, file: Path) -> Iterator[Any]:
    if text.peek() != "[":
        raise SdvlmError(f"{file}: must hold a JSON list of rows; got {type(text.take()).__name__}")
    text.at += 1
    separator = ""
    while True:
        found = text.peek()
        if found == "]" and separator != ",":
            break
        if not found:
            raise ValueError("the list is cut short")
        yield text.take()
        separator = text.peek()
        if separator not in (",", "]"):
            raise ValueError("the list is cut short" if not separator else f"wanted ',' or ']'; got {separator!r}")
        text.at += separator == ","
    text.at += 1
    if text.peek():
        raise ValueError("there is more behind the list")
