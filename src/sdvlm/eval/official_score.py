"""The released scoring of judged answers, number for number (``evaluation/evaluate_final.py`` of SD-VLM).

It is reproduced with its faults, which are: the mean of a list's ratios decides, further items of the response are
ignored, a negative number passes, zero never does, text around the judge's object fails it, and points count at the
first threshold only. What a corrected scorer makes of the same file is in ``strict_score``. Two things differ on
purpose: the judge's text is parsed and never run, and where the released script stops (a mark that is no number) the
row fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sdvlm.data.msmu_types import QUALITATIVE, QUANTITATIVE
from sdvlm.data.schema import QuestionType
from sdvlm.eval.judge_text import JudgeTextError, UnsafeTextError, parse_as_released

__all__ = ["THRESHOLDS", "OfficialVerdict", "counters", "official_average", "official_verdict", "text_pair"]

THRESHOLDS = (1.25, 1.25**2, 1.25**3)
"""ratios below these are hits; the first is the score"""
_POINT_TOLERANCE = 0.1
_SIMILAR = 0.5
_EPSILON = 1e-4


@dataclass(frozen=True)
class OfficialVerdict:
    """How the released script counts one judged answer.

    Args:
        hits: below each of :data:`THRESHOLDS`; a mark or a point fills the first only.
        parsed: whether the script could compute it.
        error: relative error as the script sums it up; None for marks and what could not be computed.
        note: where our outcome is not the script's, why; else None.
    """

    hits: tuple[int, int, int]
    parsed: bool
    error: float | None = None
    note: str | None = None

    @property
    def right(self) -> bool:
        """Whether it counts as a success in the published score."""
        return self.hits[0] == 1


def text_pair(kind: QuestionType, text: object) -> tuple[str, str] | None:
    """Reference and response of a position given in words, which have to be compared by a sentence encoder."""
    if kind is QuestionType.POSITION:
        try:
            answer, response = _quantities(text)
        except (JudgeTextError, LookupError, TypeError):
            return None
        if isinstance(answer, str) and isinstance(response, str):
            return answer, response
    return None


def official_verdict(kind: QuestionType, text: object, cosine: float | None = None) -> OfficialVerdict:
    """Count one judged answer as the released script does.

    Args:
        kind: official type.
        text: what the judge wrote.
        cosine: similarity of the :func:`text_pair`, where there is one.
    """
    try:
        if kind in QUALITATIVE:
            return _mark(parse_as_released(text)["your_mark"])
        answer, response = _quantities(text)
        if kind is not QuestionType.POSITION:
            return _lengths(answer, response)
        return _text(response, cosine) if isinstance(answer, str) else _point(answer, response)
    except UnsafeTextError as error:
        return OfficialVerdict((0, 0, 0), False, note=f"{error}; it is not run and fails")
    except (JudgeTextError, LookupError, TypeError, ValueError, ArithmeticError):
        return OfficialVerdict((0, 0, 0), False)


def counters(kinds: Iterable[QuestionType], verdicts: Iterable[OfficialVerdict]) -> dict[str, Any]:
    """The three tables the released script prints: quantity, quantity_error, quality.

    ``count`` is the number of questions, ``rate`` of hits (of errors: their sum), ``ratio`` their quotient.
    """
    rows = list(zip(kinds, verdicts, strict=True))
    by_kind = {kind: [verdict for one, verdict in rows if one is kind] for kind in QuestionType}
    quantity = {kind: by_kind[kind] for kind in QUANTITATIVE if by_kind[kind]}
    quality = {kind: by_kind[kind] for kind in QUALITATIVE if by_kind[kind]}
    every_quantity = [verdict for kind, verdict in rows if kind in QUANTITATIVE]
    every_quality = [verdict for kind, verdict in rows if kind in QUALITATIVE]
    return {
        "quantity": {"total": _hits(every_quantity)} | {kind.value: _hits(some) for kind, some in quantity.items()},
        "quantity_error": {"total": _errors(every_quantity)}
        | {kind.value: _errors(some) for kind, some in quantity.items()},
        "quality": {"total": _marks(every_quality)} | {kind.value: _marks(some) for kind, some in quality.items()},
    }


def official_average(rates: Mapping[QuestionType, float]) -> float:
    """Mean over all eight families; one that was not asked counts as 0, as in the released script."""
    ordered = [rates[kind] for kind in (*QUANTITATIVE, *QUALITATIVE) if kind in rates]
    return sum(ordered) / len(QuestionType)


def _quantities(text: object) -> tuple[Any, Any]:
    value = parse_as_released(text)
    return value["answer_in_meters"], value["response_in_meters"]


def _lengths(answer: Any, response: Any) -> OfficialVerdict:
    if isinstance(answer, list):
        for item in (*answer, *response):
            float(item)  # as released: what is no number fails even beyond the items that count
        pairs = [(item, response[index]) for index, item in enumerate(answer)]
        ratio = sum(_ratio(*pair) for pair in pairs) / len(pairs)
        error = sum(_relative_error(*pair) for pair in pairs) / len(pairs)
    else:
        said, true = float(response), float(answer)
        ratio, error = _ratio(true, said), _relative_error(true, said)
    first, second, third = (int(ratio < threshold) for threshold in THRESHOLDS)
    return OfficialVerdict((first, second, third), True, error)


def _ratio(answer: Any, response: Any) -> float:
    return float(max(response / answer, answer / response))


def _relative_error(answer: Any, response: Any) -> float:
    return float(abs(response - answer) / (answer + _EPSILON))


def _point(answer: Any, response: Any) -> OfficialVerdict:
    pairs = [(answer[index], response[index]) for index in range(len(answer))]
    off = sum(abs(said - true) for true, said in pairs) / len(pairs)
    error = sum(_relative_error(true, said) for true, said in pairs) / len(pairs)
    return OfficialVerdict((int(off <= _POINT_TOLERANCE), 0, 0), True, error)


def _text(response: Any, cosine: float | None) -> OfficialVerdict:
    if not isinstance(response, str):
        return OfficialVerdict((0, 0, 0), False)
    if cosine is None:
        raise RuntimeError("a position in words was given without its similarity")
    return OfficialVerdict((int(cosine >= _SIMILAR), 0, 0), True, 0.0)


def _mark(mark: Any) -> OfficialVerdict:
    if mark is not None and not isinstance(mark, int | float):
        note = f"the mark is {type(mark).__name__} {mark!r:.40}, at which the released script stops; it fails here"
        return OfficialVerdict((0, 0, 0), False, note=note)
    return OfficialVerdict((int(mark is not None and mark > 0.5), 0, 0), mark is not None)


def _hits(verdicts: list[OfficialVerdict]) -> dict[str, Any]:
    rate = [sum(verdict.hits[index] for verdict in verdicts) for index in range(len(THRESHOLDS))]
    count = len(verdicts)
    return {"count": count, "rate": rate, "ratio": [hits / count if count else 0 for hits in rate]}


def _errors(verdicts: list[OfficialVerdict]) -> dict[str, Any]:
    errors = [verdict.error for verdict in verdicts if verdict.error is not None]
    return {"count": len(errors), "rate": sum(errors), "ratio": sum(errors) / len(errors) if errors else 0}


def _marks(verdicts: list[OfficialVerdict]) -> dict[str, Any]:
    right, count = sum(verdict.right for verdict in verdicts), len(verdicts)
    return {"count": count, "rate": right, "ratio": right / count if count else 0}
