"""Words that carry no question, replaced, left out or added: the model learns to go by those that do.

A language model this small, taught by templates alone, learns their exact words: asked anything else it collapses. Here
the words between the names, the numbers and the words that say what is asked are varied at random, with invented words
in place of those that others would use. No wording that the exams hold out is among them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from sdvlm.data.categories import plural
from sdvlm.nano.invented_words import invented_word

__all__ = ["ASKING", "noisy_wording"]

ASKING = frozenset(
    {
        "how", "what", "which", "where", "many", "much", "who", "is", "are", "does", "do", "can", "count", "number",
        "coordinate", "coordinates", "point", "position", "left", "right", "leftmost", "rightmost", "nearest",
        "farthest", "closest", "closer", "nearer", "farther", "further", "front", "behind", "tall", "taller",
        "tallest", "high", "height", "heights", "wide", "width", "long", "longer", "length", "deep", "depth",
        "distance", "far", "apart", "near", "short", "shorter", "small", "smaller", "smallest", "big", "bigger",
        "large", "larger", "largest", "great", "greater", "greatest", "size", "sizes", "dimensions", "horizontal",
        "vertical", "top", "bottom", "side", "between", "cm", "mm", "m", "ft", "in", "meters", "centimeters",
        "millimeters", "feet", "inches", "unit",
    }
)  # fmt: skip
"""words that say what is asked, or in which unit"""
_REPLACED, _LEFT_OUT, _ADDED = 0.2, 0.1, 0.04
"""how often each of the other words is replaced or left out, and how often one is added behind it"""
_LED = 0.2
"""how often invented words and a comma stand in front of all"""
_WORD = re.compile(r"[^\W\d_]+(?:'\w+)?")


def noisy_wording(question: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The question (``frames.plain_question``) in more or other words; names, numbers and words of ``ASKING`` stay."""
    text, kept = question["question"], _spans_of_names(question)
    out, end = [], 0
    for match in _WORD.finditer(text):
        start, stop = match.span()
        fixed = match[0].lower() in ASKING or any(start < b and a < stop for a, b in kept)
        out.append(text[end:start])
        end = stop
        drawn = rng.random()
        if start == 0 and _REPLACED <= drawn < _REPLACED + _LEFT_OUT:
            drawn = 1.0  # something stands before the first name, which is then told from it as it always is
        if fixed or drawn >= _REPLACED + _LEFT_OUT + _ADDED:
            out.append(match[0])
        elif drawn < _REPLACED:
            out.append(invented_word(rng, 1, 2))
        elif drawn >= _REPLACED + _LEFT_OUT:
            out.append(f"{match[0]} {invented_word(rng, 1, 2)}")
    said = re.sub(r"  +", " ", "".join([*out, text[end:]])).strip()
    if rng.random() < _LED:
        said = f"{invented_word(rng, 1, 2).capitalize()} {invented_word(rng, 1, 2)}, {said}"
    return {**question, "question": said}


def _spans_of_names(question: dict[str, Any]) -> list[tuple[int, int]]:
    """Characters of every name, said once or as many."""
    text = question["question"].lower()
    names = {form.lower() for name in question["names"] for form in (name, plural(name))}
    return [match.span() for name in names for match in re.finditer(re.escape(name), text)]
