"""Scores of a file: by family, averaged, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sdvlm.data.schema import QuestionType
from sdvlm.eval.bootstrap import Interval, resample
from sdvlm.eval.judged import JudgedAnswer, Prediction
from sdvlm.eval.official_score import counters, official_average, official_verdict, text_pair
from sdvlm.eval.rule_score import rule_score
from sdvlm.eval.scoring import wilson
from sdvlm.eval.strict_score import strict_verdict
from sdvlm.eval.text_similarity import TextSimilarity, load_similarity
from sdvlm.types import SdvlmError

__all__ = ["JUDGED_SCORERS", "SCORERS", "FamilyRate", "ScoreReport", "score_judged", "score_predictions"]

JUDGED_SCORERS = ("official", "strict")
SCORERS = (*JUDGED_SCORERS, "rules")
_MOST_NOTES = 20


class _Verdict(Protocol):
    @property
    def right(self) -> bool: ...

    @property
    def parsed(self) -> bool: ...


@dataclass(frozen=True)
class FamilyRate:
    """Right answers of one family.

    Args:
        count, correct: questions, and those answered rightly.
        unparsed: questions whose reply (or judge's text) could not be read; they are among the wrong ones.
        interval: 95 % bootstrap interval of the rate. Of a small family that was all right or all wrong it says
            too little; Wilson's, in :meth:`to_dict` beside it, does not.
    """

    count: int
    correct: int
    unparsed: int
    interval: Interval

    @property
    def rate(self) -> float:
        """Share of right answers, 0..1."""
        return self.correct / self.count

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        numbers = {"count": self.count, "correct": self.correct, "rate": self.rate}
        intervals = {"interval": list(self.interval), "wilson": list(wilson(self.correct, self.count))}
        return {**numbers, **intervals, "unparsed": self.unparsed}


@dataclass(frozen=True)
class ScoreReport:
    """Scores of one file by one scorer.

    Args:
        scorer: ``official``, ``strict`` or ``rules``.
        families: those that were asked, in the order of :class:`~sdvlm.data.schema.QuestionType`.
        average: what the scorer calls its result; ``official`` always divides by eight, the others by the families
            there.
        intervals: 95 % bootstrap intervals of ``average``, ``macro`` and ``micro``.
        counters: the released script's own tables, for ``official``.
        text_similarity: what compared positions in words, where any differed.
        notes: what a reader has to know about rows of this file.
    """

    scorer: str
    families: Mapping[QuestionType, FamilyRate]
    average: float
    intervals: Mapping[str, Interval]
    counters: Mapping[str, Any] | None = None
    text_similarity: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def macro(self) -> float:
        """Mean of the rates of the families there."""
        return sum(family.rate for family in self.families.values()) / len(self.families)

    @property
    def micro(self) -> float:
        """Share of all questions answered rightly."""
        return self.correct / self.count

    @property
    def count(self) -> int:
        """All questions."""
        return sum(family.count for family in self.families.values())

    @property
    def correct(self) -> int:
        """All right answers."""
        return sum(family.correct for family in self.families.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; numbers that are not finite become None."""
        document = {
            "scorer": self.scorer,
            "families": {kind.value: family.to_dict() for kind, family in self.families.items()},
            "average": self.average,
            "macro": self.macro,
            "micro": self.micro,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "count": self.count,
            "correct": self.correct,
            "unparsed": sum(family.unparsed for family in self.families.values()),
        }
        if self.counters is not None:
            document["counters"] = self.counters
        if self.text_similarity is not None:
            document["text_similarity"] = self.text_similarity
        cleaned: dict[str, Any] = _finite({**document, "notes": list(self.notes)})
        return cleaned


def score_judged(
    records: Sequence[JudgedAnswer], scorer: str = "official", similarity: TextSimilarity | None = None, seed: int = 0
) -> ScoreReport:
    """Score judged answers.

    Args:
        records: at least one, from :func:`~sdvlm.eval.judged.read_scorable`.
        scorer: ``official`` or ``strict``.
        similarity: compares positions in words for ``official``; by default all-MiniLM-L6-v2, loaded only where some
            differ. Equal words have cosine 1 by definition.
        seed: of the bootstrap.

    Raises:
        SdvlmError: no such scorer, no records, or MiniLM is needed and not installed.
    """
    if scorer not in JUDGED_SCORERS:
        raise SdvlmError(f"judged answers are scored by {' or '.join(JUDGED_SCORERS)}; got {scorer!r}")
    kinds = [record.type for record in records]
    if scorer == "strict":
        return _report(scorer, kinds, [strict_verdict(record.type, record.text) for record in records], seed)
    pairs = {index: pair for index, one in enumerate(records) if (pair := text_pair(one.type, one.text))}
    same = {index: 1.0 for index, (one, other) in pairs.items() if one.strip() == other.strip()}
    pairs = {index: pair for index, pair in pairs.items() if index not in same}
    if pairs and similarity is None:
        similarity = load_similarity()
    cosines = same | (dict(zip(pairs, similarity(list(pairs.values())), strict=True)) if pairs and similarity else {})
    verdicts = [official_verdict(one.type, one.text, cosines.get(index)) for index, one in enumerate(records)]
    notes = [f"row {one.number}: {told.note}" for one, told in zip(records, verdicts, strict=True) if told.note]
    return _report(
        scorer,
        kinds,
        verdicts,
        seed,
        counters=counters(kinds, verdicts),
        text_similarity=similarity.name if pairs and similarity else None,
        notes=_shortened(notes),
    )


def score_predictions(records: Sequence[Prediction], seed: int = 0) -> ScoreReport:
    """Score a model's answers by rules, without a judge (:func:`~sdvlm.eval.rule_score.rule_score`).

    Raises:
        SdvlmError: no records.
    """
    verdicts = [rule_score(one.type, one.question, one.reference, one.reply) for one in records]
    unread = [
        f"row {one.number}: the reference cannot be read: {one.reference!r:.80}"
        for one, verdict in zip(records, verdicts, strict=True)
        if verdict.reference is None
    ]
    return _report("rules", [one.type for one in records], verdicts, seed, notes=_shortened(unread))


def _report(
    scorer: str, kinds: Sequence[QuestionType], verdicts: Sequence[_Verdict], seed: int, **more: Any
) -> ScoreReport:
    if not kinds:
        raise SdvlmError("there is nothing to score; give at least one answer")
    rows: dict[QuestionType, list[_Verdict]] = {
        kind: [verdict for one, verdict in zip(kinds, verdicts, strict=True) if one is kind]
        for kind in QuestionType
        if kind in kinds
    }
    correct = [sum(one.right for one in some) for some in rows.values()]
    drawn = resample(correct, [len(some) for some in rows.values()], seed=seed)
    families = {
        kind: FamilyRate(len(some), right, sum(not one.parsed for one in some), drawn.family(index))
        for index, ((kind, some), right) in enumerate(zip(rows.items(), correct, strict=True))
    }
    official = scorer == "official"
    rates = {kind: family.rate for kind, family in families.items()}
    average = official_average(rates) if official else sum(rates.values()) / len(rates)
    divisor = len(QuestionType) if official else None
    intervals = {"average": drawn.mean(divisor), "macro": drawn.mean(), "micro": drawn.pooled()}
    return ScoreReport(scorer, families, average, intervals, **more)


def _shortened(notes: Sequence[str]) -> tuple[str, ...]:
    more = len(notes) - _MOST_NOTES
    return (*notes[:_MOST_NOTES], f"and {more} more such rows") if more > 0 else tuple(notes)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
