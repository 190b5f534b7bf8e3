"""The corrected rules, case by case beside the released ones."""

from __future__ import annotations

import json

import pytest

from sdvlm.data.schema import QuestionType
from sdvlm.eval.official_score import official_verdict
from sdvlm.eval.strict_score import strict_verdict

SIZE, COUNT, POINT, MARK = (
    QuestionType.SCALE_ESTIMATION,
    QuestionType.COUNT,
    QuestionType.POSITION,
    QuestionType.ZERO,
)


def sides(answer, response) -> str:
    return json.dumps({"answer_in_meters": answer, "response_in_meters": response})


CASES = [  # family, judge's text, passes officially, passes strictly, can be read strictly
    (SIZE, sides(1.0, 1.24), True, True, True),
    (SIZE, sides(1.0, 1.25), False, False, True),
    (SIZE, sides(1.25, 1.0), False, False, True),
    (SIZE, sides([1.0, 1.0], [1.0, 1.4]), True, False, True),  # the mean hides the bad item
    (SIZE, sides([1.0, 2.0], [1.0, 2.0, 9.0]), True, False, True),  # one too many
    (SIZE, sides([1.0, 2.0], [1.0]), False, False, True),
    (SIZE, sides([1.0, 2.0], 1.0), False, False, True),
    (SIZE, sides([0.91], 0.91), False, True, True),  # one length is one length
    (SIZE, sides(0.91, [0.91]), False, True, True),
    (SIZE, sides(1.0, -1.0), True, False, True),
    (SIZE, sides(1.2, 0), False, False, True),
    (SIZE, sides(1.2, None), False, False, True),
    (SIZE, sides(None, 1.2), False, False, False),
    (SIZE, sides([1.0, 1.0], [1.0, None]), False, False, True),
    (SIZE, sides("1.20", "1.25"), True, True, True),
    (SIZE, sides(["1.2"], ["1.2"]), False, True, True),
    (SIZE, sides("1.2 m", "120 cm"), False, True, True),
    (SIZE, sides(1.2, "N/A"), False, False, True),
    (SIZE, '"answer_in_meters": 1.0, "response_in_meters": 1.0', False, True, True),
    (SIZE, f"```json\n{sides(1, 1)}\n```", False, True, True),
    (SIZE, f"{sides(1, 1)} Done.", False, True, True),
    (SIZE, "{'answer_in_meters': (1.0, 2.0), 'response_in_meters': (1.0, 2.0)}", False, True, True),
    (SIZE, '{"answer_in_meters": 1e999, "response_in_meters": 1e999}', False, False, False),
    (SIZE, '{"answer_in_meters": 1.0}', False, False, False),
    (SIZE, None, False, False, False),
    (SIZE, "I cannot tell", False, False, False),
    (COUNT, sides(5, 6), True, False, True),
    (COUNT, sides(10, 9), True, False, True),
    (COUNT, sides(4, 5), False, False, True),
    (COUNT, sides(4, 4.0), True, True, True),
    (COUNT, sides(0, 0), False, True, True),
    (COUNT, sides(3, "three"), False, True, True),
    (COUNT, sides([2, 3], [2, 3]), True, True, True),
    (COUNT, sides([2, 3], [2, 4]), True, False, True),
    (POINT, sides([0.5, 0.5], [0.6, 0.6]), True, True, True),
    (POINT, sides([0.5, 0.5], [0.65, 0.65]), False, False, True),
    (POINT, sides([0.3], [0.4]), False, True, True),  # 0.1 but for floating point
    (POINT, sides([0.5, 0.5], [0.5, 0.5, 0.1]), True, False, True),
    (POINT, sides("(0.72,0.28)", "(0.7, 0.3)"), False, True, True),
    (POINT, sides("brown cabinet", "The brown cabinet."), True, True, True),
    (POINT, sides("brown cabinet", "brown chair"), True, False, True),
    (POINT, sides("brown cabinet", [0.1, 0.2]), False, False, True),
    (MARK, '{"your_mark": 1}', True, True, True),
    (MARK, '{"your_mark": 0}', False, False, True),
    (MARK, '{"your_mark": 0.7}', True, False, False),
    (MARK, '{"your_mark": 2}', True, False, False),
    (MARK, '{"your_mark": "1"}', False, True, True),
    (MARK, '{"your_mark": true}', False, True, True),
    (MARK, '"your_mark": 1', False, True, True),
    (MARK, '{"your_mark": null}', False, False, False),
    (MARK, "1", False, False, False),
]


@pytest.mark.parametrize(("kind", "text", "officially", "strictly", "read"), CASES)
def test_what_passes_by_each_scorer(kind, text, officially, strictly, read):
    cosine = 0.9 if text and "cabinet" in text else 0.1
    assert official_verdict(kind, text, cosine).right == officially
    verdict = strict_verdict(kind, text)
    assert (verdict.right, verdict.parsed) == (strictly, read)


@pytest.mark.parametrize("value", [{"your_mark": 1}, 1, True, ["x"]])
def test_what_is_no_text_fails_officially_as_eval_takes_text_only(value):
    assert not official_verdict(MARK, value).right
    assert strict_verdict(MARK, value).right == isinstance(value, dict)


def test_numbers_beyond_any_float_are_unread():
    assert not strict_verdict(MARK, f'{{"your_mark": {10**400}}}').parsed
    assert not strict_verdict(SIZE, sides(10**400, 1)).parsed
