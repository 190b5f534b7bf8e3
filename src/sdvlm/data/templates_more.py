"""More ways to ask, on top of those in the templates: with ``QuestionConfig.phrasing="all"`` both are drawn from.

They are text files, ``wordings/TYPE/TOPIC.txt``, a wording a line, places as in the templates: a new line is all that a
new way to ask takes. They are kept apart because a model that was trained on the questions of the templates alone, from
the same seed, must find them unchanged.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["MORE_ANSWERS", "more_questions"]


@cache
def more_questions(topic: str) -> tuple[str, ...]:
    """The wordings of a topic, "type/topic", in the order of its file."""
    family, name = topic.split("/")
    file = resources.files("sdvlm.data") / "wordings" / family / f"{name}.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines())


MORE_ANSWERS: dict[str, tuple[str, ...]] = {
    "scale_estimation/size": ("The {a} is with the length of {x} {m}, width of {y} {m}, and height of {z} {m}.",),
}
"""Other published sentences to answer a topic with, by topic."""
