"""How far two markers agree on right and wrong, beyond what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdvlm.data.schema import QuestionType
from sdvlm.eval.judged import JudgedAnswer, Prediction
from sdvlm.eval.rule_score import rule_score
from sdvlm.eval.strict_score import strict_verdict

__all__ = ["Agreement", "agreement", "rules_and_judge"]


@dataclass(frozen=True)
class Agreement:
    """Two markers over the same answers.

    Args:
        both, neither: answers that both passed, and that both failed.
        first_only, second_only: answers that only one of them passed.
    """

    both: int
    neither: int
    first_only: int
    second_only: int

    @property
    def count(self) -> int:
        """All answers."""
        return self.both + self.neither + self.first_only + self.second_only

    @property
    def share(self) -> float:
        """Share of answers they agree on, 0..1."""
        return (self.both + self.neither) / self.count

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (Cohen, 1960): 0 is chance, 1 full agreement; None where both give one and the same mark."""
        first, second = (self.both + self.first_only) / self.count, (self.both + self.second_only) / self.count
        chance = first * second + (1 - first) * (1 - second)
        return None if chance == 1 else (self.share - chance) / (1 - chance)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        numbers = {"count": self.count, "both": self.both, "neither": self.neither}
        only = {"first_only": self.first_only, "second_only": self.second_only}
        return {**numbers, **only, "share": self.share, "kappa": self.kappa}


def agreement(first: Sequence[bool], second: Sequence[bool]) -> Agreement:
    """Compare two markers' marks of the same answers, of which there is at least one."""
    pairs = list(zip(first, second, strict=True))
    return Agreement(
        pairs.count((True, True)), pairs.count((False, False)), pairs.count((True, False)), pairs.count((False, True))
    )


def rules_and_judge(
    predictions: Sequence[Prediction], answers: Sequence[JudgedAnswer]
) -> tuple[Agreement, dict[QuestionType, Agreement]]:
    """Agreement of scoring by rules (first) with the judge (second), over all and by family.

    Both are put to the same strict rule of passing, so that what differs is how they read the reply.

    Args:
        predictions: at least one.
        answers: the judged answer of each.
    """
    rules = [rule_score(one.type, one.question, one.reference, one.reply).right for one in predictions]
    judge = [strict_verdict(one.type, one.text).right for one in answers]
    kinds = [one.type for one in predictions]
    families = {}
    for kind in QuestionType:
        places = [index for index, one in enumerate(kinds) if one is kind]
        if places:
            families[kind] = agreement([rules[at] for at in places], [judge[at] for at in places])
    return agreement(rules, judge), families
