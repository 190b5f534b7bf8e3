"""Scores by topic and wording: which unseen wordings are understood, and which are taken for another question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdvlm.nano.exam import Exam
from sdvlm.nano.sitting import Sitting

__all__ = ["gaps", "topic_rates"]


def topic_rates(exam: Exam, sittings: Sequence[Sitting]) -> dict[str, list[float]]:
    """Share of the questions of each topic ("type/topic") that are right, in each sitting.

    Args:
        exam: its questions hold their template.
        sittings: of the exam in its own wording, then in others.
    """
    topics = [question.topic for _, asked in exam for question in asked]
    right: dict[str, list[list[bool]]] = {}
    for sitting in sittings:
        of_topic: dict[str, list[bool]] = {}
        for topic, outcome in zip(topics, sitting.outcomes, strict=True):
            of_topic.setdefault(topic, []).append(outcome.right)
        for topic, found in of_topic.items():
            right.setdefault(topic, []).append(found)
    return {topic: [sum(one) / len(one) for one in found] for topic, found in sorted(right.items())}


def gaps(rates: dict[str, list[float]]) -> dict[str, Any]:
    """How far the other wordings lie below the first, over pairs of topic and wording.

    Returns:
        ``pairs``, how many; ``within_5``, ``within_10``: at most so many points below; ``lost``: more than 30 below.
    """
    below = [first - other for first, *others in rates.values() for other in others]
    shares = {f"within_{points}": sum(gap <= points / 100 + 1e-9 for gap in below) for points in (5, 10)}
    return {"pairs": len(below), **shares, "lost": sum(gap > 0.3 for gap in below)}
