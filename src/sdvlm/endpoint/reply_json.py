"""The JSON object in a model's reply, however it is wrapped."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["find_object"]

_LONGEST = 20_000
_DECODER = json.JSONDecoder()


def find_object(text: str) -> dict[str, Any] | None:
    """The last JSON object of a text (fenced, amid prose), None where there is none or the text is endless.

    The last one, since models that think aloud write drafts first.
    """
    if len(text) > _LONGEST:
        return None
    found, at = None, text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found = value
        at = text.find("{", end)
    return found
