"""From a topic, names and values to a worded question with its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from sdvlm.data.categories import is_plural
from sdvlm.data.facts import Thing, pick
from sdvlm.data.phrasings import ALL_TEMPLATES, phrasings, sentences
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.schema import QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.units import UNITS

__all__ = [
    "VERBS_AHEAD",
    "VERBS_BEHIND",
    "any_name",
    "ask_in_unit",
    "draw_unit",
    "fill_question",
    "metres",
    "plain_name",
    "rounded",
    "word",
]

_PLACES = ("a", "b", "c")
_END = re.compile(r"\s*([?.:]?)\s*$")
_SUBJECT = "".join(
    rf"(?<!\b{word} )"
    for word in (
        "of", "and", "or", "than", "to", "from", "at", "for", "on", "by", "with", "in", "onto", "into", "off", "under",
        "behind", "beside", "past", "against", "versus", "between", "around", "over", "up", "toward", "after",
    )
)  # fmt: skip
"""not behind a preposition or a conjunction: what follows is the subject"""
VERBS_AHEAD = {"is": "are", "Is": "Are", "does": "do", "Does": "Do", "was": "were", "Was": "Were", "Has": "Have"}
"""verbs in front of their subject, and their plural"""
VERBS_BEHIND = {"is": "are", "was": "were", "has": "have", "does": "do", "goes": "go", "reaches": "reach"} | {
    f"{verb}s": verb
    for verb in (
        "measure", "stand", "come", "rise", "lie", "amount", "require", "take", "sit", "show", "keep", "extend",
        "deserve", "cover", "win", "turn", "need", "fill", "exceed", "project", "leave", "lack", "occupy", "flank",
    )
}  # fmt: skip
"""verbs behind their subject, and their plural"""
_LAST_CLAUSE = re.compile(r", (?:as )?(?:measured|seen|along|leaving)\b[^,]*$")
"""ends in how it is measured, where "in feet" would hang on the wrong word"""
_IT = re.compile(r"\b(?:it|its|itself|that one)\b", re.IGNORECASE)
"""takes up a name in the singular"""
_WITH_UNIT = (" in {unit}{end}", "{end} Answer in {unit}.", "{end} Give the answer in {unit}.")


def rounded(value: float) -> float:
    """A coordinate as it stands in an answer: two decimals."""
    return float(f"{value:.2f}")


def metres(value: float) -> str:
    """Two decimals: "0.80"."""
    return f"{value:.2f}"


def draw_unit(rng: np.random.Generator, config: QuestionConfig) -> str:
    """The unit of one question. Nothing is drawn where there is no choice."""
    if len(config.units) == 1:
        return config.units[0]
    weights = np.array(config.unit_weights or (1.0,) * len(config.units))
    return config.units[int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(), side="right"))]


def plain_name(rng: np.random.Generator, thing: Thing, config: QuestionConfig) -> str:
    """A name without a position word: by category, sometimes with its colour; by size where that alone tells apart."""
    options = thing.names.plain
    if not options:
        return pick(rng, thing.names.sized)
    return options[-1] if len(options) > 1 and rng.random() < config.extra_color_probability else options[0]


def any_name(rng: np.random.Generator, thing: Thing, config: QuestionConfig) -> str:
    """A plain name if there is one, else one with a word of position or size."""
    return plain_name(rng, thing, config) if thing.names.plain else pick(rng, thing.names.placed + thing.names.sized)


def word(
    rng: np.random.Generator,
    config: QuestionConfig,
    topic: str,
    answer: TypedAnswer,
    places: Mapping[str, str],
    *,
    ids: Sequence[int],
    names: Sequence[str],
    point: tuple[float, float] | None = None,
    unit: str = "m",
) -> QuestionSample:
    """Choose a phrasing of the topic and fill it in.

    Args:
        topic: a key of :data:`sdvlm.data.phrasings.ALL_TEMPLATES`.
        answer: typed answer; a "no" takes the template's negative sentence.
        places: what fills the other places of the template.
        ids, names: objects in the order of mention; names fill ``{a} {b} {c}``.
        point: for questions about a point.
        unit: symbol of the unit that the numbers in ``places`` are in; the question names it unless it is metres.
    """
    template, choices = ALL_TEMPLATES[topic], phrasings(topic, config.phrasing)
    if any(map(is_plural, names)):
        choices = tuple(one for one in choices if not _IT.search(one[1])) or choices
    label, question = choices[int(rng.random() * len(choices))]
    if unit != "m":
        question = ask_in_unit(question, UNITS[unit].word, rng)
    negative = answer.values == ("no",)
    if config.answer_style == "short":
        text = template.short_no if negative else template.short
    elif negative:
        text = template.answer_no
    else:
        ways = sentences(topic, config.phrasing)
        text = ways[0] if len(ways) == 1 else pick(rng, ways)
    filled = {"m": UNITS[unit].symbol, "meters": UNITS[unit].word, **dict(zip(_PLACES, names, strict=False)), **places}
    return QuestionSample(
        question=fill_question(question, filled, names),
        answer=fill_question(text, filled, names),
        type=QuestionType(topic.split("/")[0]),
        answer_typed=answer,
        objects=tuple(ids),
        names=tuple(names),
        template=f"{topic}/{label}",
        point=point,
        said_unit=unit,
    )


def fill_question(template: str, filled: Mapping[str, str], names: Sequence[str]) -> str:
    """A template with its places filled, its verbs agreeing with the names that are plural."""
    many = [place for place in (*_PLACES, "x") if filled.get(place) in names and is_plural(filled[place])]
    return _agree(template, many).format(**filled)


def ask_in_unit(question: str, unit_word: str, rng: np.random.Generator) -> str:
    """The question with the unit asked for, if it does not ask for one already."""
    if "{meters}" in question and "{x} {meters}" not in question:
        return question
    ending = _END.search(question)
    assert ending is not None  # it matches the empty end
    said = question[: ending.start()]
    way = pick(rng, _WITH_UNIT)
    if way == _WITH_UNIT[0] and _LAST_CLAUSE.search(said):
        way = _WITH_UNIT[1]
    return said + way.format(unit=unit_word, end=ending[1])


def _agree(text: str, many: Sequence[str]) -> str:
    """The template with its verbs in the plural where the name that comes to that place is one ("the shelves are")."""
    for place in many:
        name = rf"[Tt]he \{{{place}\}}"
        text = re.sub(rf"\b({'|'.join(VERBS_AHEAD)})(?= {name})", lambda match: VERBS_AHEAD[match[1]], text)
        text = re.sub(
            rf"{_SUBJECT}({name}) ({'|'.join(VERBS_BEHIND)})\b", lambda m: f"{m[1]} {VERBS_BEHIND[m[2]]}", text
        )
    return text
