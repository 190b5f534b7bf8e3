"""Exact match of short answers, forgiving of case, punctuation, articles and number words.

The normalisation is the customary one of question answering (SQuAD, arXiv 1606.05250; VQA, arXiv 1505.00468): both
texts are brought to one form, then compared. It is for answers of a few words; a sentence seldom matches another.
"""

from __future__ import annotations

import re

from sdvlm.eval.numerals import number_words_to_digits

__all__ = ["LONG", "exact_form", "is_long"]

LONG = 5
"""an answer of more words than this is not short"""
_ARTICLES = frozenset({"a", "an", "the"})
_MARKS = re.compile(r"(?<!\d)[.,:](?!\d)|(?<=\d)[.,:](?!\d)|(?<!\d)[.,:](?=\d)|[^\w\s.,:]|_")
"""all marks but those inside numbers: 1.5, 1,000, 12:30"""


def exact_form(text: str) -> str:
    """The form that is compared: ``"The Two  dogs."`` becomes ``"2 dogs"``."""
    words = _MARKS.sub(" ", number_words_to_digits(text.lower())).split()
    return " ".join(word for word in words if word not in _ARTICLES)


def is_long(text: str) -> bool:
    """Whether an answer has too many words for exact match to say much."""
    return len(exact_form(text).split()) > LONG
