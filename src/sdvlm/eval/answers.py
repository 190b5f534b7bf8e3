"""What a model's free text says, as a typed answer; None where it says nothing that can be scored.

The parser is a table of rules, not a judge: it never guesses. Where a text gives several numbers that disagree, or both
yes and no, it is unparsed. Unparsed answers count as failures and are reported on their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from sdvlm.data.schema import AnswerKind, QuestionType, TypedAnswer
from sdvlm.eval.lengths import find_lengths
from sdvlm.eval.named_answers import choose_name, stated_name
from sdvlm.eval.numerals import number_words_to_digits
from sdvlm.eval.said_lengths import SAID_LATER, in_order_of_dimensions, lengths_said

__all__ = ["is_refusal", "parse_answer", "parse_kind"]

_REFUSAL = re.compile(
    r"\b(?:i (?:can ?not|can't|am unable|'m unable|am not able|do not know|don't know|am not sure)"
    r"|i'm (?:not able|not sure|sorry|unable)|sorry, (?:but )?i|it(?: is|'s) (?:not possible|impossible|unclear)"
    r"|(?:not|isn't|is not) (?:possible|enough information)|cannot be (?:determined|estimated|measured)"
    r"|can't be (?:determined|estimated|measured)|unable to|as an ai|not sure|hard to (?:say|tell)|unanswerable)\b",
    re.IGNORECASE,
)
_YES = re.compile(
    r"^(?:yes|yeah|yep|yup|indeed|correct|true|sure|certainly|absolutely|definitely|affirmative|of course|right"
    r"|exactly|that(?:'s| is) (?:right|correct|true)|no doubt|it (?:is|does)\b(?! not)"
    r"|there (?:is|are)\b(?! (?:no|not)\b)|i (?:can )?see (?:an?|the|one|some)\b)\b",
    re.IGNORECASE,
)
_NO = re.compile(
    r"^(?:no|nope|nah|not|negative|incorrect|false|wrong|on the contrary|that(?:'s| is) (?:not|incorrect|false|wrong)"
    r"|it (?:is not|isn't|does not|doesn't)|there (?:is|are) (?:no|not)|there (?:isn't|aren't)"
    r"|i (?:do not|don't|cannot|can't|can not) see)\b",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"^(?:well|actually|hmm|sorry|unfortunately|in fact|i think|i believe|i'd say|i would say)[,:]? (?:but |that )?",
    re.IGNORECASE,
)
_YES_NO_LATER = re.compile(r"^[^.!?]{0,80}[,:] (yes|no)\b", re.IGNORECASE)
_UNSEEN = re.compile(
    r"^i (?:do not|don't|cannot|can't|can not) (?:see|find|spot|detect) (?:an?|any|one)\b", re.IGNORECASE
)
_ABSENT = re.compile(
    r"\b(?:does|do|did)(?: not|n't) (?:contain|show|include|have|feature|appear|seem|depict)"
    r"|\b(?:is|are)(?: not|n't)(?: any| clearly)? (?:visible|present|seen|shown|there|in the)"
    r"|\bthere (?:is|are)(?:n't| not| no)\b|\bcan(?:not|'t| not) be seen|\babsent\b"
    r"|\bno .{1,40}? (?:is|are|can be) (?:visible|present|seen|shown)",
    re.IGNORECASE,
)
_PRESENT = re.compile(
    r"\b(?:image|picture|photo|scene|room) (?:contains|shows|includes|features|depicts|has)\b"
    r"|\b(?:is|are)(?: clearly| indeed)? (?:visible|present|shown|seen)\b|\bcan be seen\b|\bthere (?:is|are)\b",
    re.IGNORECASE,
)
_SEVERAL = re.compile(r"\b(?:sizes?|dimensions|how (?:big|large)|measurements|length, width|and the)\b", re.IGNORECASE)


def is_refusal(text: str) -> bool:
    """Whether the text declines to answer ("I cannot determine ...")."""
    return _REFUSAL.search(text.replace("’", "'")) is not None


def parse_answer(
    text: str,
    question_type: QuestionType | str,
    *,
    question: str | None = None,
    options: Sequence[str] = (),
    kind: AnswerKind | None = None,
) -> TypedAnswer | None:
    """Read a reply.

    Args:
        text: what the model wrote.
        question_type: family of the question; says which kinds of answer make sense.
        question: the question, where known; tells one length from several, and names from points.
        options: names to choose from, for "which is taller, A or B".
        kind: the kind of answer, where known; then family and question are not needed to tell it.

    Returns:
        The answer in metres, normalised coordinates or lower-case words; None for a refusal or what cannot be read.
    """
    if kind is not None:
        return parse_kind(text, kind, options=options)
    for candidate in _kinds(QuestionType(question_type), question):
        answer = parse_kind(text, candidate, options=options)
        if answer is not None:
            return answer
    return None


def parse_kind(text: str, kind: AnswerKind, *, options: Sequence[str] = ()) -> TypedAnswer | None:
    """Read a reply as an answer of one kind; None where it is not one."""
    text = text.strip().strip("*`").replace("’", "'").strip()
    if not text:
        return None
    if kind is AnswerKind.NAME:
        return _parse_name(text, options)
    values = _PARSERS[kind](text)
    unit = "m" if kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS) else None
    return None if values is None else TypedAnswer(kind, values, unit)


def _kinds(family: QuestionType, question: str | None) -> tuple[AnswerKind, ...]:
    """Kinds of answer to try, likeliest first."""
    if family is QuestionType.POSITION:
        asks_name = question is not None and re.search(r"\(\s*[\d.]+\s*,\s*[\d.]+\s*\)", question)
        if question is None:
            return AnswerKind.POINT, AnswerKind.NAME
        return (AnswerKind.NAME,) if asks_name else (AnswerKind.POINT,)
    if family is QuestionType.RELATIVE_POSITION:
        if question is not None and re.search(r"\bleft\b.*\bright\b|\bright\b.*\bleft\b", question, re.IGNORECASE):
            return (AnswerKind.DIRECTION,)
        return (AnswerKind.YES_NO,) if question is not None else (AnswerKind.YES_NO, AnswerKind.DIRECTION)
    if family in (QuestionType.SCALE_ESTIMATION, QuestionType.REFER_OBJ_ESTIMATION):
        if question is None:
            return AnswerKind.LENGTHS, AnswerKind.LENGTH
        return (AnswerKind.LENGTHS if _SEVERAL.search(question) else AnswerKind.LENGTH,)
    return (_ONE_KIND[family],)


def _parse_length(text: str) -> tuple[float, ...] | None:
    if is_refusal(text) and not find_lengths(text):
        return None
    _, lengths = lengths_said(text)
    if not lengths or any(abs(one.metres - lengths[0].metres) > 0.02 * lengths[0].metres for one in lengths[1:]):
        return None
    return (_tidy(lengths[0].metres),)


def _parse_lengths(text: str) -> tuple[float, ...] | None:
    said, lengths = lengths_said(text)
    if len(lengths) < 2:
        return None
    return tuple(_tidy(one.metres) for one in in_order_of_dimensions(said, lengths))


def _parse_count(text: str) -> tuple[float, ...] | None:
    digits = number_words_to_digits(text.lower())
    marks = list(SAID_LATER.finditer(digits))
    if marks and re.search(r"\d", digits[marks[-1].end() :]):
        digits = digits[marks[-1].end() :]
    if re.search(r"\d\s*(?:-|–|\bto\b|\bor\b)\s*\d", digits):
        return None
    listed = [int(number) for number in re.findall(r"(?<![\w.,-])\d+(?![\w]|[.,]\d)", digits)]
    numbers = set(listed)
    if len(numbers) == 1 or (len(listed) > 2 and listed[0] == sum(listed[1:])):  # "3 chairs: 1 here and 2 there"
        return (listed[0],)
    if numbers or is_refusal(text):
        return None
    if re.search(r"\b(?:no|none|not any|aren't any)\b", digits):
        return (0,)
    return (1,) if re.search(r"\b(?:a single|only an?|just an?|there(?: is|'s) an?)\b", digits) else None


def _parse_point(text: str) -> tuple[float, ...] | None:
    number = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)\s*%?"
    pair = re.findall(
        rf"[\[(]\s*(?:x\s*[=:]\s*)?({number})\s*[,;]\s*(?:y\s*[=:]\s*)?({number})\s*[\])]", text, re.IGNORECASE
    )
    pair = pair or re.findall(
        rf"x\s*(?:=|:|is)\s*({number})\s*(?:,|;|and)?\s*y\s*(?:=|:|is)\s*({number})", text, re.IGNORECASE
    )
    pair = pair or re.findall(rf"^\s*({number})\s*[,;\s]\s*({number})\s*\.?\s*$", text)
    pair = pair or re.findall(r"(?<![\d.,])([01]?\.\d+)(?:, ?|; ?| )([01]?\.\d+)(?![\d,]|\.\d)", text)
    points = {tuple(_coordinate(part) for part in one) for one in pair}
    if len(points) != 1:
        return None
    point = points.pop()
    return point if all(0 <= value <= 1 for value in point) else None


def _coordinate(text: str) -> float:
    return float(text.rstrip("% ")) / 100 if "%" in text else float(text)


def _parse_yes_no(text: str) -> tuple[str, ...] | None:
    said = _HEDGE.sub("", text.lstrip("\"'*_-( ").strip())
    conclusion = re.search(r"\banswer\s*(?:is)?\s*:?\s*[\"'*]*(yes|no)\b", said, re.IGNORECASE)
    if conclusion:
        return (conclusion[1].lower(),)
    if _UNSEEN.match(said):
        return ("no",)
    if re.match(r"yes (?:and|or) no\b", said, re.IGNORECASE) or (
        is_refusal(said) and not re.match(r"(?:yes|no)\b,? ?(?:\w|$)", said, re.I)
    ):
        return None
    if re.match(r"no doubt\b", said, re.IGNORECASE):
        return ("yes",)
    if _NO.match(said):
        return ("no",)
    if _YES.match(said):
        return ("yes",)
    later = _YES_NO_LATER.match(said)
    if later:
        return (later[1].lower(),)
    if _ABSENT.search(said):
        return ("no",)
    return ("yes",) if _PRESENT.search(said) else None


def _parse_direction(text: str) -> tuple[str, ...] | None:
    said = re.sub(
        r"\b(?:not|rather than|instead of)\b(?: (?:on|to|in))?(?: the| its)? (?:left|right)\b", "", text.lower()
    )
    sides = set(re.findall(r"\b(left|right)\b", said))
    return (sides.pop(),) if len(sides) == 1 and not is_refusal(said) else None


def _parse_name(text: str, options: Sequence[str]) -> TypedAnswer | None:
    if is_refusal(text):
        return None
    name = choose_name(text, options) if options else stated_name(text)
    return TypedAnswer(AnswerKind.NAME, (name,)) if name else None


def _tidy(metres: float) -> float:
    """Without the noise of unit conversion: 150 * 0.01 is 1.5."""
    return float(f"{metres:.6g}")


_ONE_KIND: Mapping[QuestionType, AnswerKind] = {
    QuestionType.ABSOLUTE_DISTANCE: AnswerKind.LENGTH,
    QuestionType.COUNT: AnswerKind.COUNT,
    QuestionType.SCALE_COMPARE: AnswerKind.NAME,
    QuestionType.ZERO: AnswerKind.YES_NO,
}

_PARSERS: Mapping[AnswerKind, Callable[[str], tuple[float, ...] | tuple[str, ...] | None]] = {
    AnswerKind.LENGTH: _parse_length,
    AnswerKind.LENGTHS: _parse_lengths,
    AnswerKind.COUNT: _parse_count,
    AnswerKind.POINT: _parse_point,
    AnswerKind.YES_NO: _parse_yes_no,
    AnswerKind.DIRECTION: _parse_direction,
}
