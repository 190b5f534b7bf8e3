"""Right or wrong, and how sure one can be of the share: the strict MSMU rules, family by family.

The official rule passes a list when the *mean* of its ratios is below 1.25, a count by ratio, and judges words by a
language model (``evaluation/evaluate_final.py`` of SD-VLM). Strict means: every item of a list passes and none is
missing, counts are equal, words are equal. Nothing here asks a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.eval.named_answers import normalise_name

__all__ = [
    "DELTA",
    "POINT_TOLERANCE",
    "Family",
    "FamilyScore",
    "General",
    "Outcome",
    "Scoreboard",
    "delta_ratio",
    "is_right",
    "tally",
    "wilson",
]

DELTA = 1.25
"""lengths pass when the larger of answer and truth is less than this many times the smaller"""
POINT_TOLERANCE = 0.1
"""points pass when their coordinates differ by at most this on average"""
_ROUNDING = 1e-9


class General(StrEnum):
    """The family of questions that are of none of MSMU's."""

    GENERAL = "general"


Family = QuestionType | General


def delta_ratio(a: float, b: float) -> float:
    """The larger over the smaller of two positive numbers, at least 1; infinite if either is not positive."""
    return max(a / b, b / a) if a > 0 and b > 0 else math.inf


def is_right(predicted: TypedAnswer | None, truth: TypedAnswer) -> bool:
    """Whether an answer passes the strict rule of its kind. None, or an answer of another kind, does not."""
    if predicted is None or predicted.kind is not truth.kind or len(predicted.values) != len(truth.values):
        return False
    if truth.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
        pairs = zip(predicted.numbers, truth.numbers, strict=True)
        return all(delta_ratio(said, true) < DELTA - _ROUNDING for said, true in pairs)
    if truth.kind is AnswerKind.COUNT:
        return predicted.numbers == truth.numbers
    if truth.kind is AnswerKind.POINT:
        off = [abs(said - true) for said, true in zip(predicted.numbers, truth.numbers, strict=True)]
        return sum(off) / len(off) <= POINT_TOLERANCE + _ROUNDING
    return [normalise_name(str(word)) for word in predicted.values] == [
        normalise_name(str(word)) for word in truth.values
    ]


def wilson(passed: int, asked: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson, 1927); (0, 1) where nothing was asked. ``z`` 1.96: 95 %."""
    if asked == 0:
        return 0.0, 1.0
    rate, spread = passed / asked, z * z / asked
    middle = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / asked + spread / (4 * asked))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Outcome:
    """How one question went.

    Args:
        type: its family.
        right: whether the answer passed.
        parsed: whether the reply could be read at all.
    """

    type: Family
    right: bool
    parsed: bool = True

    @classmethod
    def of(cls, family: QuestionType, predicted: TypedAnswer | None, truth: TypedAnswer) -> Outcome:
        """Score one answer."""
        return cls(family, is_right(predicted, truth), predicted is not None)


@dataclass(frozen=True)
class FamilyScore:
    """Share of right answers of a family (or of all).

    Args:
        asked, right, unparsed: numbers of questions; unparsed ones are among the wrong.
    """

    asked: int
    right: int
    unparsed: int

    @property
    def rate(self) -> float:
        """Share of right answers, 0..1; NaN where nothing was asked."""
        return self.right / self.asked if self.asked else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the rate."""
        return wilson(self.right, self.asked)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values; the rate is None where nothing was asked."""
        rate = self.rate if self.asked else None
        numbers = {"asked": self.asked, "right": self.right, "unparsed": self.unparsed}
        return {"rate": rate, "interval": list(self.interval), **numbers}


@dataclass(frozen=True)
class Scoreboard:
    """Scores by family and over all.

    Args:
        families: those that were asked, in the order of :class:`QuestionType`, general ones last.
    """

    families: dict[Family, FamilyScore]

    @property
    def overall(self) -> FamilyScore:
        """All questions together: each question counts the same."""
        scores = self.families.values()
        return FamilyScore(*(sum(getattr(one, name) for one in scores) for name in ("asked", "right", "unparsed")))

    @property
    def macro(self) -> float:
        """Mean of the family rates: each family that was asked counts the same; NaN where none was."""
        rates = [score.rate for score in self.families.values()]
        return sum(rates) / len(rates) if rates else math.nan

    @property
    def macro_interval(self) -> tuple[float, float]:
        """95 % interval of :attr:`macro`: half widths of the families' intervals added as independent errors."""
        scores = list(self.families.values())
        if not scores:
            return 0.0, 1.0
        below = math.hypot(*(score.rate - score.interval[0] for score in scores))
        above = math.hypot(*(score.interval[1] - score.rate for score in scores))
        return self.macro - below / len(scores), self.macro + above / len(scores)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "families": {family.value: score.to_dict() for family, score in self.families.items()},
            "macro": {"rate": self.macro, "interval": list(self.macro_interval)},
            "overall": self.overall.to_dict(),
        }


def tally(outcomes: Iterable[Outcome]) -> Scoreboard:
    """Count outcomes by family."""
    counts: dict[Family, list[int]] = {}
    for outcome in outcomes:
        row = counts.setdefault(outcome.type, [0, 0, 0])
        row[0] += 1
        row[1] += outcome.right
        row[2] += not outcome.parsed
    return Scoreboard(
        {family: FamilyScore(*counts[family]) for family in (*QuestionType, *General) if family in counts}
    )
