"""Right or wrong without a judge: reference and reply are both free text, and both are read by the same rules.

References come in MSMU's published phrasing ("the wall shelves measures 0.37 meters in width."), so what kind of
answer is wanted, how many numbers and which names, is told by the reference together with the question. The rules of
passing are the strict ones of :func:`~sdvlm.eval.scoring.is_right`. What cannot be read fails, and counts as unread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sdvlm.data.msmu_types import official_type
from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.eval.answers import is_refusal, parse_kind
from sdvlm.eval.comparisons import chosen_option, options_in
from sdvlm.eval.named_answers import normalise_name, stated_name
from sdvlm.eval.numerals import number_words_to_digits
from sdvlm.eval.said_lengths import answering_lengths, lengths_said, names_of_lengths
from sdvlm.eval.scoring import is_right
from sdvlm.eval.sides import side_verdict

__all__ = ["RuleOutcome", "rule_score"]

_PLACE = re.compile(
    r" (?:at|in|on|near|next to|beside|by|behind|in front of|under|above|against|located|positioned|standing|which|that"
    r"|to the)\b.*$"
)
_ASKED_NUMBER = re.compile(
    r"\b(?:how many|number of|count(?: of| the)?) ([a-z][a-z -]*?)(?: are| is| can| do| in| on| there| visible|\?|$)",
    re.IGNORECASE,
)
_STANDS = re.compile(
    r"^\s*(?:an?|the|one|some) [^.,]{1,40}? (?:is|are|stands|sits|hangs|lies)"
    r" (?:in|on|at|near|next|by|behind|under|against)\b",
    re.IGNORECASE,
)
_ENDLESS = re.compile(r"\d{60}")
_PART = re.compile(r"\b(?:including|of which|such as|among them)\b")
_IS_IT = re.compile(r"^\s*(?:is|are|does|do|can|would)\b.*\bthan\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class RuleOutcome:
    """How a reply compares with its reference.

    Args:
        type: family of the question.
        right: whether it passes.
        parsed: whether both sides could be read.
        answer: what the reply says; None where it could not be read.
        reference: what the reference says; None where it could not be read, then nothing passes.
        refused: whether the reply declines to answer.
    """

    type: QuestionType
    right: bool
    parsed: bool
    answer: TypedAnswer | None
    reference: TypedAnswer | None
    refused: bool


def rule_score(kind: QuestionType | str, question: str, reference: str, reply: str) -> RuleOutcome:
    """Score a reply by rules.

    Args:
        kind: published or official type name.
        question: with or without ``<image>`` marks.
        reference: the published answer.
        reply: what the model wrote.

    Raises:
        SdvlmError: there is no such type.
    """
    family = official_type(kind)
    endless = _ENDLESS.search(reply) is not None  # a model that repeats itself; no number is that long
    truth, answer = _READERS[family](question, reference, "" if endless else reply)
    right = answer is not None and truth is not None and is_right(answer, truth)
    refused = answer is None and is_refusal(reply)
    return RuleOutcome(family, right, answer is not None and truth is not None, answer, truth, refused)


_Sides = tuple[TypedAnswer | None, TypedAnswer | None]


def _lengths(question: str, reference: str, reply: str) -> _Sides:
    """One length or several, in the order of the reference."""
    count = len(lengths_said(reference)[1])
    true = answering_lengths(reference, question, count) if count else None
    if true is None:
        return None, None
    names = names_of_lengths(reference)
    said = answering_lengths(reply, question, len(true), names)
    kind = AnswerKind.LENGTH if len(true) == 1 else AnswerKind.LENGTHS
    return TypedAnswer(kind, true, "m"), None if said is None else TypedAnswer(kind, said, "m")


def _count(question: str, reference: str, reply: str) -> _Sides:
    """A number; of several, the one in front of the things asked about."""
    said = parse_kind(reply, AnswerKind.COUNT)
    asked = _ASKED_NUMBER.search(question)
    if said is None and asked:
        noun = re.escape(normalise_name(asked[1]).split()[-1].removesuffix("s"))
        digits = number_words_to_digits(_PART.split(reply.lower())[0])
        numbers = set(re.findall(rf"(?<![\w.,-])(\d+) (?:[a-z-]+ ){{0,2}}?{noun}(?:s|es)?\b", digits))
        doubtful = re.search(r"\d\s*(?:-|–|\bto\b|\bor\b)\s*\d", digits)
        said = parse_kind(numbers.pop(), AnswerKind.COUNT) if len(numbers) == 1 and not doubtful else None
    return parse_kind(reference, AnswerKind.COUNT), said


def _position(question: str, reference: str, reply: str) -> _Sides:
    """A point, or the object at one; a name passes with the words that say where it stands, or without."""
    point = parse_kind(reference, AnswerKind.POINT)
    if point is not None:
        return point, parse_kind(reply, AnswerKind.POINT)
    true = stated_name(reference)
    if true is None:
        return None, None
    said = None if is_refusal(reply) else stated_name(reply) or stated_name(_PLACE.sub("", reply))
    if said is not None and normalise_name(_PLACE.sub("", said)) == true:
        said = true
    return TypedAnswer(AnswerKind.NAME, (true,)), None if said is None else TypedAnswer(AnswerKind.NAME, (said,))


def _side(question: str, reference: str, reply: str) -> _Sides:
    """Yes or no, said or implied by the side; or the side itself, where the question leaves it open."""
    if re.search(r"\bleft\b.*\bright\b|\bright\b.*\bleft\b", question, re.IGNORECASE | re.DOTALL):
        return parse_kind(reference, AnswerKind.DIRECTION), parse_kind(reply, AnswerKind.DIRECTION)
    true = _yes_no(reference) or side_verdict(reference, question)
    said, implied = _yes_no(reply), side_verdict(reply, question)
    if implied is not None and re.match(r"\W*(?:it|right)\b", reply, re.IGNORECASE):
        said = None  # "It is to the right" and "Right" name a side
    if said is not None and implied is not None and said != implied:
        return _verdict(true), None  # "Yes, it is on the right", asked about the left
    return _verdict(true), _verdict(said or implied)


def _comparison(question: str, reference: str, reply: str) -> _Sides:
    """The one of the named objects, or yes or no where the question names the comparison's outcome itself."""
    options = options_in(question)
    if _IS_IT.match(question) and _yes_no(reference) is not None:
        said = _yes_no(reply)
        chosen = chosen_option(reply, options, question) if len(options) == 2 else None
        implied = None if chosen is None else "yes" if chosen == options[0] else "no"
        return _verdict(_yes_no(reference)), _verdict(said or implied)
    true = chosen_option(reference, options, question) if options else None
    if true is None:
        true, options = stated_name(reference), ()
    if true is None:
        return None, None
    name = None if is_refusal(reply) else chosen_option(reply, options, question) if options else stated_name(reply)
    return TypedAnswer(AnswerKind.NAME, (true,)), None if name is None else TypedAnswer(AnswerKind.NAME, (name,))


def _existence(question: str, reference: str, reply: str) -> _Sides:
    """Yes or no; a number says yes unless it is zero. Where the reference is a number, numbers are compared."""
    true = _yes_no(reference)
    counted = parse_kind(reply, AnswerKind.COUNT)
    if true is None:
        return parse_kind(reference, AnswerKind.COUNT), counted
    said = _yes_no(reply)
    if said is None and _STANDS.match(reply):
        said = "yes"
    if said is None and counted is not None:
        said = "yes" if counted.numbers[0] > 0 else "no"
    return _verdict(true), _verdict(said)


def _yes_no(text: str) -> str | None:
    parsed = parse_kind(text, AnswerKind.YES_NO)
    return None if parsed is None else str(parsed.values[0])


def _verdict(word: str | None) -> TypedAnswer | None:
    return None if word is None else TypedAnswer(AnswerKind.YES_NO, (word,))


_READERS = {
    QuestionType.SCALE_ESTIMATION: _lengths,
    QuestionType.ABSOLUTE_DISTANCE: _lengths,
    QuestionType.REFER_OBJ_ESTIMATION: _lengths,
    QuestionType.COUNT: _count,
    QuestionType.POSITION: _position,
    QuestionType.RELATIVE_POSITION: _side,
    QuestionType.SCALE_COMPARE: _comparison,
    QuestionType.ZERO: _existence,
}
