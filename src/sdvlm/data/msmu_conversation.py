"""The conversation of an MSMU row, in each of the shapes it is published in.

A list of ``{from, value}``, a dict of lists (``from``, ``value``), or either of them as a string of JSON or of Python
literals. Strings are parsed, never evaluated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["IMAGE_MARK", "Turns", "first_exchange", "read_turns", "without_image_marks"]

Turns = tuple[tuple[str, str], ...]
"""(from, value) of each turn, verbatim."""

IMAGE_MARK = "<image>"
_HUMAN, _MODEL = ("human", "user"), ("gpt", "assistant")
_LONGEST = 1 << 20
"""characters of a conversation kept as a string; parsers of nested literals are not to be fed without bound"""


def read_turns(cell: object) -> Turns:
    """Turns of a conversation cell of any published shape.

    Raises:
        SdvlmError: the cell holds no conversation; the message says what it holds instead.
    """
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", errors="replace")
    if isinstance(cell, str):
        cell = _parse(cell)
    if isinstance(cell, Mapping):
        cell = _from_columns(cell)
    if not isinstance(cell, Sequence) or isinstance(cell, str) or not cell:
        raise SdvlmError(f"conversations must be a list of {{from, value}}; got {_short(cell)}")
    return tuple(_turn(_parse(one) if isinstance(one, str) else one) for one in cell)


def first_exchange(turns: Turns) -> tuple[str, str]:
    """First question and the answer right after it, verbatim, as the released inference script takes them.

    Raises:
        SdvlmError: no human turn is followed by an answer, or one of them is empty.
    """
    for (speaker, question), (answerer, answer) in pairwise(turns):
        if speaker in _HUMAN and answerer in _MODEL:
            if not without_image_marks(question) or not answer.strip():
                raise SdvlmError(f"the {'answer' if without_image_marks(question) else 'question'} is empty")
            return question, answer
    speakers = ", ".join(speaker for speaker, _ in turns)
    raise SdvlmError(f"wanted a turn of 'human' and one of 'gpt' after it; got turns of {speakers}")


def without_image_marks(text: str) -> str:
    """A question as a person would ask it: without ``<image>`` and the white space around it."""
    return " ".join(part for part in (piece.strip() for piece in text.split(IMAGE_MARK)) if part)


def _parse(text: str) -> Any:
    """JSON, or Python literals, or an array of dicts as NumPy prints it (no commas between them)."""
    if len(text) > _LONGEST:
        raise SdvlmError(f"conversations is a string of {len(text)} characters; at most {_LONGEST} are read")
    attempts = (json.loads, ast.literal_eval, lambda said: ast.literal_eval(re.sub(r"\}\s*\{", "}, {", said)))
    for attempt in attempts:
        try:
            value = attempt(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return _parse(value) if isinstance(value, str) and value != text else value
    raise SdvlmError(f"conversations is neither JSON nor a Python literal: {_short(text)}")


def _from_columns(columns: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """A dict of lists as a list of dicts; a dict that is itself one turn as that turn."""
    speakers, values = columns.get("from"), columns.get("value")
    if isinstance(speakers, str) and isinstance(values, str):
        return [{"from": speakers, "value": values}]
    if not isinstance(speakers, Sequence) or not isinstance(values, Sequence) or len(speakers) != len(values):
        raise SdvlmError(f"conversations must hold as many 'from' as 'value'; got {_short(columns)}")
    return [{"from": speaker, "value": value} for speaker, value in zip(speakers, values, strict=True)]


def _turn(turn: object) -> tuple[str, str]:
    if isinstance(turn, Mapping):
        speaker, value = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if isinstance(speaker, str) and isinstance(value, str):
            return speaker, value
    raise SdvlmError(f"a turn must be {{from: text, value: text}}; got {_short(turn)}")


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."
