"""A question said in other words: other wordings of its topic, about the same things.

The held-out ones (``templates_held_out``) are for measuring whether a model understood a question or knows its wording.
"""

from __future__ import annotations

import re
from functools import cache

from sdvlm.data.phrasings import ALL_TEMPLATES, Phrasing, phrasings
from sdvlm.data.schema import QuestionSample
from sdvlm.data.units import UNITS
from sdvlm.data.wording import VERBS_AHEAD, VERBS_BEHIND, fill_question
from sdvlm.types import SdvlmError

__all__ = ["paraphrases"]

_PLACE = re.compile(r"\\\{(\w+)\\\}")


def paraphrases(sample: QuestionSample, which: Phrasing = "held_out") -> tuple[str, ...]:
    """The question in all wordings of its topic that a setting draws from.

    Args:
        sample: worded from ``ALL_TEMPLATES``, in metres, with its ``template`` label.
        which: the setting; the held-out wordings are five or more.

    Raises:
        SdvlmError: the question is not worded as its label says.
    """
    topic, label = sample.topic, sample.wording
    wordings = dict(phrasings(topic, "all")) if topic in ALL_TEMPLATES else {}
    found = _pattern(wordings[label]).fullmatch(sample.question) if label in wordings else None
    if found is None or sample.said_unit != "m":
        said = f"'{sample.question}' is not worded as '{sample.template}' in metres"
        raise SdvlmError(f"{said}, so it has no paraphrases; they are made of questions of our templates")
    places = {"m": UNITS["m"].symbol, "meters": UNITS["m"].word, **found.groupdict()}
    return tuple(fill_question(text, places, sample.names) for _, text in phrasings(topic, which))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """The template with a group for each place; verbs may have been put in the plural."""
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return rf"(?P={name})"
        seen.add(name)
        return rf"(?P<{name}>.+?)"

    text = _PLACE.sub(group, re.escape(template))
    for one, many in (VERBS_AHEAD | VERBS_BEHIND).items():
        text = re.sub(rf"\b{one}\b(?!>)", f"(?:{one}|{many})", text)
    return re.compile(text)
