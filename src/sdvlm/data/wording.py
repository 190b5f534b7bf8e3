"""From a topic, names and values to a worded question with its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sdvlm.data.facts import Thing, pick
from sdvlm.data.question_config import QuestionConfig
from sdvlm.data.schema import QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.templates import TEMPLATES

__all__ = ["any_name", "metres", "plain_name", "rounded", "word"]

_PLACES = ("a", "b", "c")


def rounded(value: float) -> float:
    """The value as it stands in an answer: two decimals."""
    return float(f"{value:.2f}")


def metres(value: float) -> str:
    """Two decimals: "0.80"."""
    return f"{value:.2f}"


def plain_name(rng: np.random.Generator, thing: Thing, config: QuestionConfig) -> str:
    """A name without a position word: by category, sometimes with its colour."""
    options = thing.names.plain
    return options[-1] if len(options) > 1 and rng.random() < config.extra_color_probability else options[0]


def any_name(rng: np.random.Generator, thing: Thing, config: QuestionConfig) -> str:
    """A plain name if there is one, else one with a position word."""
    return plain_name(rng, thing, config) if thing.names.plain else pick(rng, thing.names.placed)


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
) -> QuestionSample:
    """Choose a phrasing of the topic and fill it in.

    Args:
        topic: a key of :data:`sdvlm.data.templates.TEMPLATES`.
        answer: typed answer; a "no" takes the template's negative sentence.
        places: what fills the other places of the template.
        ids, names: objects in the order of mention; names fill ``{a} {b} {c}``.
        point: for questions about a point.
    """
    template = TEMPLATES[topic]
    number = int(rng.random() * len(template.questions))
    filled = {**dict(zip(_PLACES, names, strict=False)), **places}
    negative = answer.values == ("no",)
    if config.answer_style == "short":
        text = template.short_no if negative else template.short
    else:
        text = template.answer_no if negative else template.answer
    return QuestionSample(
        question=template.questions[number].format(**filled),
        answer=text.format(**filled),
        type=QuestionType(topic.split("/")[0]),
        answer_typed=answer,
        objects=tuple(ids),
        names=tuple(names),
        template=f"{topic}/{number}",
        point=point,
    )
