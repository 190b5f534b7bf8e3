"""The lengths a reply states, apart from those it only mentions: which number answers the question.

A reply may repeat what was given ("Since the bed is 0.81 m high, ..."), say the same again in other units, or state
more than was asked ("1.2 m wide and 0.75 m tall"). Which of its lengths answer is told by the question's own numbers,
dimensions and names, and where they do not tell, the reply is unread rather than guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from sdvlm.eval.lengths import Length, find_lengths, written_alike
from sdvlm.eval.named_answers import normalise_name
from sdvlm.eval.numerals import number_words_to_digits

__all__ = ["SAID_LATER", "answering_lengths", "in_order_of_dimensions", "lengths_said", "names_of_lengths"]

SAID_LATER = re.compile(
    r"\b(?:answer(?: is)?|therefore|thus|hence|in conclusion|in total|total(?: of| is)?)\b[:,]?", re.IGNORECASE
)
"""what announces a reply's conclusion"""
_SO = re.compile(r", so\b", re.IGNORECASE)
_REFERENCE = re.compile(
    r"^\s*(?:since|given(?: that)?|as|if|knowing(?: that)?|because|considering(?: that)?)\b.*?,(?=\s)",
    re.IGNORECASE | re.DOTALL,
)
_RESTATED = re.compile(
    r"[\s.]*(?:\(|,? or|,? which is|=|≈|,? i\.e\.)[\s,(]*(?:about|approximately|roughly|~|≈)?\s*", re.IGNORECASE
)
_DIMENSIONS = ("length", "width", "height")
_DIMENSION_WORDS = {
    "length": "length", "long": "length", "width": "width", "wide": "width", "height": "height", "high": "height",
    "tall": "height", "depth": "width", "deep": "width",
}  # fmt: skip
_WORD = re.compile(rf"\b(?:{'|'.join(_DIMENSION_WORDS)})\b", re.IGNORECASE)
_OF_NAME = re.compile(
    r"\b(?:height|width|length|depth|size)s? of (?:the |an? )?(.+?)"
    r"(?: is| are| measures| would| should| to be|[,?.]|$)",
    re.IGNORECASE,
)
_SAME = 0.005
"""metres by which a reply's number may differ from the question's to be a repetition of it"""


def lengths_said(text: str) -> tuple[str, list[Length]]:
    """Lengths of the statement itself: no reference clause, no restatement in other units, only the conclusion.

    Returns:
        the text they were found in, written alike, to which their positions refer; the lengths in order.
    """
    text = written_alike(_REFERENCE.sub("", number_words_to_digits(text), count=1))
    marks = list(SAID_LATER.finditer(text))
    if marks and find_lengths(text[marks[-1].end() :]):
        text = text[marks[-1].end() :]
    behind = text[[*_SO.finditer(text)][-1].end() :] if _SO.search(text) else ""
    if any(length.has_unit for length in find_lengths(behind)):
        text = behind
    lengths: list[Length] = []
    for length in find_lengths(text):
        between = text[lengths[-1].end : length.start] if lengths else ""
        if not (_RESTATED.fullmatch(between) and _restates(length, lengths[-1])):
            lengths.append(length)
    half = len(lengths) // 2
    if half > 1 and len(lengths) % 2 == 0 and all(map(_restates, lengths[half:], lengths[:half])):
        lengths = lengths[:half]
    return text, lengths


def _restates(length: Length, other: Length) -> bool:
    """Whether two lengths are the same, up to the rounding of other units."""
    return abs(length.metres - other.metres) <= 0.06 * other.metres


def in_order_of_dimensions(text: str, lengths: list[Length]) -> list[Length]:
    """Length, width, height in this order if the text labels each of three by words, whichever way round.

    Of width and depth the longer one is the length.
    """
    words = [word.lower() for word in _WORD.findall(text)]
    order = [_DIMENSION_WORDS[word] for word in words]
    if len(lengths) == len(words) == 3 and order.count("width") == 2 and "height" in order:
        height = lengths[order.index("height")]  # width and depth: the longer one is the length
        across = sorted((one for one in lengths if one is not height), key=lambda one: -one.metres)
        return [*across, height]
    if len(lengths) != 3 or sorted(order) != sorted(_DIMENSIONS):
        return lengths
    return [lengths[order.index(dimension)] for dimension in _DIMENSIONS]


def answering_lengths(text: str, question: str, wanted: int, names: Sequence[str] = ()) -> tuple[float, ...] | None:
    """The lengths of a reply that answer a question.

    Args:
        text: the reply.
        question: what was asked.
        wanted: number of lengths of the reference.
        names: of the objects the lengths belong to, in the order of the reference, where known.

    Returns:
        metres, in the order of the reference; of another number where the reply gives more or fewer. None where
        nothing can be read, or where one length was asked and several are said that disagree.
    """
    said, lengths = lengths_said(text)
    if len(lengths) > wanted:
        given = [length.metres for length in find_lengths(question)]
        fresh = [one for one in lengths if not any(abs(one.metres - known) <= _SAME for known in given)]
        lengths = fresh if len(fresh) >= wanted else lengths
    if wanted == 1:
        return _one(said, lengths, question)
    by_name = _by_names(said, lengths, names) if len(names) == wanted else None
    ordered = by_name or in_order_of_dimensions(said, lengths)
    return tuple(_tidy(one.metres) for one in ordered) or None


def names_of_lengths(text: str) -> tuple[str, ...]:
    """Objects whose lengths a sentence states ("the height of the table is 1.02 meters and ..."), in order."""
    said, _ = lengths_said(text)
    return tuple(normalise_name(name) for name in _OF_NAME.findall(said))


def _one(text: str, lengths: list[Length], question: str) -> tuple[float, ...] | None:
    if _disagree(lengths):
        asked = {_DIMENSION_WORDS[word.lower()] for word in _WORD.findall(question)}
        labelled = list(zip(lengths, _labels(text, lengths), strict=True))
        lengths = [length for length, label in labelled if label in asked] if len(asked) == 1 else []
    return (_tidy(lengths[0].metres),) if lengths and not _disagree(lengths) else None


def _disagree(lengths: list[Length]) -> bool:
    return any(abs(one.metres - lengths[0].metres) > 0.02 * lengths[0].metres for one in lengths[1:])


def _labels(text: str, lengths: list[Length]) -> list[str | None]:
    """The dimension each length is said to be: by the word right behind it, else the last one before it."""
    labels: list[str | None] = []
    ends = [0, *(length.end for length in lengths)]
    for before, length in zip(ends, lengths, strict=False):
        behind = re.match(rf"\s*(?:in |of )?({_WORD.pattern})", text[length.end :], re.IGNORECASE)
        ahead = _WORD.findall(text[before : length.start])
        word = behind[1] if behind else ahead[-1] if ahead else None
        labels.append(_DIMENSION_WORDS[word.lower()] if word else None)
    return labels


def _by_names(text: str, lengths: list[Length], names: Sequence[str]) -> list[Length] | None:
    """The lengths in the order of the names, where each name stands before its length (or behind, if all do)."""
    if len(lengths) != len(names):
        return None
    spots = [re.search(rf"\b{re.escape(name)}\b", text.lower()) for name in names]
    if not all(spots):
        return None
    places = [spot.start() for spot in spots if spot]
    edges = [length.start for length in lengths]
    if min(places) > edges[0]:  # "1.02 m for the table and 0.55 m for the nightstand"
        slots = [sum(edge < place for edge in edges) - 1 for place in places]
    else:
        slots = [sum(edge < place for edge in edges) for place in places]
    if sorted(slots) != list(range(len(lengths))) or any(a == b for a, b in pairwise(sorted(places))):
        return None
    return [lengths[slot] for slot in slots]


def _tidy(metres: float) -> float:
    """Without the noise of unit conversion: 150 * 0.01 is 1.5."""
    return float(f"{metres:.6g}")
