"""Which ways of asking a topic a setting draws from."""

from __future__ import annotations

from functools import cache
from typing import Literal

from sdvlm.data.templates import TEMPLATES, Template
from sdvlm.data.templates_held_out import HELD_OUT_QUESTIONS
from sdvlm.data.templates_more import MORE_ANSWERS, more_questions
from sdvlm.data.templates_options import OPTIONAL_TEMPLATES

__all__ = ["ALL_TEMPLATES", "Phrasing", "phrasings", "sentences"]

Phrasing = Literal["core", "all", "held_out"]
"""The questions of the templates, those and more, or only those that no other setting uses."""

ALL_TEMPLATES: dict[str, Template] = TEMPLATES | OPTIONAL_TEMPLATES
"""Every topic that some setting asks, by "type/topic"."""


@cache
def phrasings(topic: str, which: Phrasing) -> tuple[tuple[str, str], ...]:
    """(label, question) of each way to ask a topic; labels are unique over all settings."""
    core = tuple((str(number), text) for number, text in enumerate(ALL_TEMPLATES[topic].questions))
    if which == "core":
        return core
    if which == "held_out":
        return tuple((f"held_out_{number}", text) for number, text in enumerate(HELD_OUT_QUESTIONS[topic]))
    return core + tuple((str(len(core) + number), text) for number, text in enumerate(more_questions(topic)))


@cache
def sentences(topic: str, which: Phrasing) -> tuple[str, ...]:
    """Ways to answer a topic in a sentence (of yes/no topics: the yes)."""
    return (ALL_TEMPLATES[topic].answer, *(MORE_ANSWERS.get(topic, ()) if which == "all" else ()))
