"""Read a sample's numbers, sides and verdict back out of its text and hold them against its typed answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
from sdvlm.data.units import UNITS

__all__ = ["agree", "find_text_faults", "given_reference_m", "rounding_of"]

_HALF_PERCENT = 0.005 + 1e-6
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_OPPOSITE = {"left": "right", "right": "left", "in front of": "behind", "behind": "in front of"}
_ASKED = {"left_of": "left", "right_of": "right", "in_front_of": "in front of", "behind": "behind"}


def find_text_faults(sample: QuestionSample) -> list[str]:
    """Where question and answer say something else than the typed answer, in words; empty when they agree."""
    answer, question = _without(sample.answer, sample.names), _without(sample.question, sample.names)
    values, kind = sample.answer_typed.values, sample.answer_typed.kind
    faults = [
        f"the name {name!r} is not in the text"
        for name in sample.names
        if sample.type is not QuestionType.COUNT and name not in f"{sample.question} {sample.answer}"
    ]
    if kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS):
        faults += _length_faults(sample, question, answer)
    elif kind is AnswerKind.COUNT and _NUMBER.findall(answer) != [
        f"{value:.0f}" for value in sample.answer_typed.numbers
    ]:
        faults.append(f"the text {sample.answer!r} does not say the count {values}")
    elif kind is AnswerKind.POINT and _NUMBER.findall(answer) != [
        f"{value:.2f}" for value in sample.answer_typed.numbers
    ]:
        faults.append(f"the text {sample.answer!r} does not say the point {values}")
    elif kind is AnswerKind.NAME and str(values[0]) not in sample.answer:
        faults.append(f"the text {sample.answer!r} does not say the name {values[0]!r}")
    elif kind is AnswerKind.DIRECTION and _orders(answer) != [values[0]]:
        faults.append(f"the text {sample.answer!r} does not say the side {values[0]!r}")
    elif kind is AnswerKind.YES_NO:
        faults += _verdict_faults(sample, question, answer)
    if sample.point is not None and _NUMBER.findall(question) != [f"{value:.2f}" for value in sample.point]:
        faults.append(f"the question does not ask about the point {sample.point}")
    return faults


def given_reference_m(sample: QuestionSample) -> float | None:
    """Metres of height that a reference question gives for its first object, as it says it; None if it gives none."""
    if sample.type is not QuestionType.REFER_OBJ_ESTIMATION:
        return None
    said = _lengths(_without(sample.question, sample.names), sample.said_unit)
    return said[0] if len(said) == 1 else float("nan")


def agree(sample: QuestionSample, truth: TypedAnswer) -> bool:
    """Whether a sample's typed answer is the true one: equal texts and counts, numbers equal to rounding."""
    stated = sample.answer_typed
    numeric = stated.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS, AnswerKind.POINT)
    if not numeric or len(stated.values) != len(truth.values):
        return stated.values == truth.values
    slack = _HALF_PERCENT if stated.kind is AnswerKind.POINT else rounding_of(sample)
    return all(abs(said - true) <= slack for said, true in zip(stated.numbers, truth.numbers, strict=True))


def rounding_of(sample: QuestionSample) -> float:
    """How far a stated length may lie from the true one, metres."""
    return UNITS[sample.said_unit].rounding_m + 1e-6


def _length_faults(sample: QuestionSample, question: str, answer: str) -> list[str]:
    typed, unit = sample.answer_typed.numbers, sample.said_unit
    if unit not in UNITS or sample.answer_typed.unit != "m":
        return [f"unit {unit!r} is not one of {', '.join(UNITS)}, or the typed answer is not in metres"]
    said, faults = _lengths(answer, unit), []
    reference = given_reference_m(sample)
    wanted = [*typed] if reference is None or len(said) == len(typed) else [reference, *typed]
    if len(said) != len(wanted) or any(abs(one - two) > 1e-9 for one, two in zip(said, wanted, strict=False)):
        faults.append(f"the text {sample.answer!r} says {said} m, not {wanted}")
    if len(_NUMBER.findall(answer)) != len(said):
        faults.append(f"the text {sample.answer!r} has a number without its unit {unit!r}")
    if reference is not None and reference != reference:
        faults.append(f"the question {sample.question!r} does not give one height in {unit!r}")
    named = {symbol for symbol in UNITS if _names_unit(question, symbol)}
    if named - {unit} or (unit != "m" and not named):
        faults.append(f"the question {sample.question!r} does not ask for {unit!r} alone")
    return faults


def _verdict_faults(sample: QuestionSample, question: str, answer: str) -> list[str]:
    verdict, asked = str(sample.answer_typed.values[0]), _ASKED.get(sample.answer_typed.definition or "")
    openings = ("yes", "indeed") if verdict == "yes" else ("no",)
    faults = []
    if not re.match(rf"(?:{'|'.join(openings)})\b", answer, re.IGNORECASE):
        faults.append(f"the text {sample.answer!r} does not say {verdict!r}")
    if asked is not None:
        true = asked if verdict == "yes" else _OPPOSITE[asked]
        if _orders(question) != [asked]:
            faults.append(f"the question {sample.question!r} does not ask for {asked!r}")
        if _orders(answer) not in ([], [true]):
            faults.append(f"the text {sample.answer!r} does not say {true!r}")
    return faults


def _lengths(text: str, unit: str) -> list[float]:
    """Metres of every number that has the unit behind it."""
    of = UNITS[unit]
    return [float(number) * float(of.metres) for number, _ in of.said.findall(text)]


def _names_unit(question: str, symbol: str) -> bool:
    """Whether the question names the unit: by its word, or by its symbol behind a number."""
    of = UNITS[symbol]
    return re.search(rf"\b{of.word}\b|\d {of.symbol}(?![a-z])", question) is not None


def _orders(text: str) -> list[str]:
    return re.findall(r"\b(left|right|in front of|behind)\b", text)


def _without(text: str, names: Sequence[str]) -> str:
    """The text with the names blanked out: they may hold numbers and sides themselves."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "#")
    return text
