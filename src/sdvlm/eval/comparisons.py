"""Which of the named objects a reply says is the taller, smaller, ... one, when the question names the candidates."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sdvlm.eval.named_answers import normalise_name

__all__ = ["chosen_option", "options_in"]

_OPPOSITES = {
    "tall": "short", "high": "low", "big": "small", "large": "small", "long": "short", "wide": "narrow",
    "deep": "shallow", "thick": "thin", "near": "far", "close": "far", "short": "tall", "low": "high", "small": "big",
    "narrow": "wide", "thin": "thick", "far": "near",
}  # fmt: skip
_ALIKE = {"large": "big", "high": "tall", "low": "short", "close": "near"}
_COMPARED = re.compile(
    r"\b(?P<stem>tall|short|high|low|bigg|larg|small|long|wid|narrow|deep|thick|thinn|near|clos|farth|furth)e(?:r|st)\b"
    r"|\b(?:not|n't|less) (?:as |so )?(?P<less>tall|high|big|large|long|wide|deep)\b",
    re.IGNORECASE,
)
_STEMS = {
    "bigg": "big", "larg": "large", "wid": "wide", "thinn": "thin", "clos": "close", "farth": "far", "furth": "far",
}  # fmt: skip
_EQUAL = re.compile(r"\b(?:same|equal(?:ly)?|identical|similar)\b|\bneither\b", re.IGNORECASE)
_LISTS = (
    r"\b(?:between|among|amongst|out of|comparing|compare|considering|(?<!terms )of(?! the following| th[eo]se| them))"
    r" (?P<list>(?:(?!\bwhich\b|\bwhat\b)[^?:])+?)(?:, ?(?:which|what|who)\b|\?|:|$)",
    r"[,:] ?(?P<list>[^,:?]+(?:,[^,:?]+)*,? or [^?]+)\?",
    r":(?P<list>[^:?]+,[^:?]+)\?",
    r"^(?:is|are|does) (?P<list>.+? (?:taller|shorter|higher|lower|bigger|larger|smaller|longer|wider) than .+?)\?",
)
_SPLIT = re.compile(
    r",? and |,? or |, ?| (?:taller|shorter|higher|lower|bigger|larger|smaller|longer|wider) than ", re.IGNORECASE
)
_LEADING = re.compile(r"^(?:the )?(?:heights?|widths?|lengths?|sizes?|depths?) of ", re.IGNORECASE)
_TRAILING = re.compile(
    r"\b(?:in (?:the|this) (?:image|picture|photo|scene|room)|in terms of|from the)\b.*$", re.IGNORECASE
)
_CONCLUSION = re.compile(r"\b(?:so|therefore|thus|hence|answer(?: is)?|which means)\b[:,]?", re.IGNORECASE)


def options_in(question: str) -> tuple[str, ...]:
    """The names a question gives to choose from, normalised; empty where it gives fewer than two."""
    for pattern in _LISTS:
        for match in re.finditer(pattern, question.strip(), re.IGNORECASE):
            parts = _SPLIT.split(_LEADING.sub("", match["list"].strip()))
            names = [normalise_name(_TRAILING.sub("", part)) for part in parts]
            names = [name for name in dict.fromkeys(names) if name]
            if len(names) >= 2:
                return tuple(names)
    return ()


def chosen_option(text: str, options: Sequence[str], question: str) -> str | None:
    """The option that a reply says the question's comparison holds of; None where it says none, or several.

    A name counts where it stands whole, or by a word that no other option has ("table" for "wooden table"). In "A is
    shorter than B", asked which is taller, B is chosen.

    Args:
        text: the reply.
        options: normalised names.
        question: tells which way the comparison was asked.
    """
    said = " ".join(text.lower().split())
    marks = list(_CONCLUSION.finditer(said))
    if marks and _mentions(said[marks[-1].end() :], options):
        said = said[marks[-1].end() :]
    mentions = _mentions(said, options)
    if not mentions or (_EQUAL.search(said) and len({option for _, option in mentions}) > 1):
        return None
    named = list(dict.fromkeys(option for _, option in mentions))
    asked = _asked_word(question)
    comparisons = list(_COMPARED.finditer(said))
    compared = next((one for one in comparisons if one["stem"] and _word(one["stem"]) == asked), None)
    compared = compared or next(iter(comparisons), None)
    if compared is None:
        return _unless_denied(said, mentions, options) if len(named) == 1 else None
    before = [option for place, option in mentions if place < compared.start()]
    behind = [option for place, option in mentions if place >= compared.end()]
    announces = re.match(r"(?: (?:one|object|item|of the \w+))*(?: among [^.]*?)? is\b", said[compared.end() :])
    subject = behind[0] if behind and (announces or not before) else before[-1]
    if not _turned(compared, said, asked):
        return subject
    others = [option for option in options if option != subject]
    return others[0] if len(others) == 1 else None


def _mentions(said: str, options: Sequence[str]) -> list[tuple[int, str]]:
    """(place, option) of each mention, in order."""
    found: list[tuple[int, str]] = []
    for option in options:
        rest = said
        for longer in options:
            if option != longer and option in longer:
                rest = rest.replace(longer, "#" * len(longer))
        spots = [match.start() for match in re.finditer(rf"\b{re.escape(option)}\b", rest)]
        for own in _own_words(option, options) if not spots else ():
            spots = spots or [match.start() for match in re.finditer(rf"\b{re.escape(own)}\b", rest)]
        found += [(spot, option) for spot in spots]
    return sorted(found)


def _own_words(option: str, options: Sequence[str]) -> list[str]:
    """The words of an option that no other option has, the last one first: it is the noun."""
    others = {word for other in options if other != option for word in other.split()}
    return [word for word in reversed(option.split()) if word not in others]


def _unless_denied(said: str, mentions: Sequence[tuple[int, str]], options: Sequence[str]) -> str | None:
    place, option = mentions[0]
    if re.search(r"\b(?:not|isn't|neither)\b(?: the| a)?\s*$", said[:place]):
        others = [other for other in options if other != option]
        return others[0] if len(others) == 1 else None
    return option


def _asked_word(question: str) -> str:
    """The comparison a question asks for; heights, if it names none."""
    asked = _COMPARED.search(question.lower())
    return _word(asked["stem"]) if asked and asked["stem"] else "tall"


def _turned(compared: re.Match[str], said: str, asked: str) -> bool:
    """Whether the reply compares the other way round than the question asks."""
    if compared["less"]:
        return _word(compared["less"]) == asked
    turned = _word(_OPPOSITES[_plain(compared["stem"])]) == asked != _word(compared["stem"])
    denied = re.search(r"(?:\bnot|n't)(?: \w+)?\s*$", said[: compared.start()]) is not None
    return turned != denied


def _plain(stem: str) -> str:
    return _STEMS.get(stem.lower(), stem.lower())


def _word(stem: str) -> str:
    """One word for those that mean the same here."""
    plain = _plain(stem)
    return _ALIKE.get(plain, plain)
