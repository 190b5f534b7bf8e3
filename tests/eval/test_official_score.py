"""The released scoring, reproduced on the judged answers it was recorded on, and on what it does by its own code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdvlm.data.schema import QuestionType
from sdvlm.eval.judge_text import JudgeTextError, UnsafeTextError, parse_as_released, parse_leniently
from sdvlm.eval.judged import JudgedAnswer, read_scorable
from sdvlm.eval.official_score import official_verdict
from sdvlm.eval.score import score_judged
from sdvlm.eval.text_similarity import WordCounts

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden" / "sd_vlm_official"
golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the shared golden outputs of the released code are not here")


@pytest.fixture(scope="module")
def expected():
    return json.loads((GOLDEN / "metrics_expected.json").read_text())


@pytest.fixture(scope="module")
def cases():
    return json.loads((GOLDEN / "metrics_cases.json").read_text())[1:]


def answers(cases):
    return [JudgedAnswer(n, QuestionType(one["type"]), one["answer"]) for n, one in enumerate(cases, start=1)]


def close(value, other):
    """Equal, with floats to 12 digits: sums may be added in another order."""
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(close(value[key], other[key]) for key in value)
    if isinstance(value, list):
        return len(value) == len(other) and all(map(close, value, other))
    return value == pytest.approx(other, rel=1e-12, abs=0) if isinstance(other, float) else value == other


@golden
def test_every_golden_case_counts_as_released(cases, expected):
    assert len(cases) == 77
    for case in cases:
        want = expected["per_case"][case["case_id"]]
        told = official_verdict(QuestionType(case["type"]), case["answer"], float(case.get("note") == "same text"))
        if want["kind"] == "qualitative":
            assert told.hits[0] == want["success"], case
        else:
            assert (list(told.hits), told.parsed) == (want["success"], want["parsed"]), case
            assert close(told.error, want["error_rate"]), case


@golden
@pytest.mark.parametrize("tagged", [True, False])
def test_the_golden_counters_and_average_are_reproduced(cases, expected, tagged):
    kept = [case for case in cases if tagged or "tag" not in case]
    want = dict(expected["aggregate" if tagged else "aggregate_without_tagged_cases"])
    report = score_judged(answers(kept), "official", WordCounts() if tagged else None)
    assert report.average == pytest.approx(want.pop("average"), abs=1e-15)
    assert close(report.to_dict()["counters"], want)
    for kind, family in report.to_dict()["families"].items():
        counted = want["quantity"].get(kind) or want["quality"][kind]
        first = counted["rate"][0] if isinstance(counted["rate"], list) else counted["rate"]
        assert (family["count"], family["correct"]) == (counted["count"], first)


@golden
def test_the_golden_file_is_read_as_released(cases):
    scorable = read_scorable(GOLDEN / "metrics_cases.json")
    assert (scorable.judged, scorable.predictions, scorable.model) == (answers(cases), [], "golden")


@golden
def test_a_family_alone_still_counts_an_eighth(cases, expected):
    want = dict(expected["single_case_run"])
    first = want.pop("case_id")
    (case,) = [one for one in cases if one["case_id"] == first]
    report = score_judged(answers([case]))
    assert report.average == want.pop("average") == 0.125
    assert close(report.to_dict()["counters"], want)


@golden
def test_programs_are_not_run_and_what_stops_the_released_script_fails(expected):
    items = [case["item"] for case in [*expected["unsafe_cases"], *expected["crash_cases"][:3]]]
    report = score_judged(answers(items))
    assert report.correct == 0
    assert [note.split(":")[0] for note in report.notes] == ["row 1", "row 2", "row 3", "row 4"]
    assert "is a program (Call)" in report.notes[0]
    assert "at which the released script stops" in report.notes[1]


SAFE = [
    "1", "-1.5", "+2", "0.3*2", "50*0.0254", "(1 + 2) * 3 - 4 / 8", "7 // 2 % 3", "2**3", "1e-3", "1_000", "0x10",
    "True",
    "None", "'a' 'b'", "[1, 2.5, -3]", "(1, 2)", "{}", "{'a': [1, {'b': (2,)}], 'c': None}", " {'a': 1}", "\n{'a': 1}",
    "{'a': 1}\n", "{'a': 1, 'a': 2}", "{'a': 12 * 0.0254, 'b': [6*0.3048 + 2*0.0254]}", "\t[1]", "1.",
]  # fmt: skip
REFUSED = [
    "null", "true", "{'a': nan}", "```json\n{'a': 1}\n```", "{'a': 1} Done.", "'a': 1", "", " ", "1/0", "\n  {'a': 1}",
    "{'a': 1", "1 2", "{[1]: 2}", "10**500 * 1.0", "{**{}}",
]  # fmt: skip
PROGRAMS = [
    "__import__('os').system('true')", "len('abc')", "[x for x in (1,)]", "(1).real", "'a'[0]", "lambda: 1",
    "f'{1}'", "{'answer_in_meters': open('/dev/null'), 'response_in_meters': 1}", "[*()]", "1 if 1 else 2",
]  # fmt: skip


@pytest.mark.parametrize("text", SAFE)
def test_what_is_data_has_the_value_that_python_gives_it(text):
    assert repr(parse_as_released(text)) == repr(eval(text))


@pytest.mark.parametrize("text", REFUSED)
def test_what_python_cannot_evaluate_is_an_error(text):
    with pytest.raises(JudgeTextError):
        parse_as_released(text)


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs_are_told_and_not_run(text):
    with pytest.raises(UnsafeTextError, match="which eval would run"):
        parse_as_released(text)


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "'a' * 10**9", "[0] * 10**9", "(" * 5000, "-" * 19_999 + "1", "1" * 9999]
)
def test_texts_made_to_exhaust_the_machine_are_errors(text):
    with pytest.raises(JudgeTextError):
        parse_as_released(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        "{'a': 1}",
        '```json\n{"a": 1}\n```',
        '"a": 1',
        'Here you are: {"a": 1}. Anything else?',
        '\n  {"a": 1}\n',
        '{"a": 2 * 0.5}',
    ],
)
def test_a_lenient_reading_finds_the_object_however_it_is_wrapped(text):
    assert parse_leniently(text) == {"a": 1}


def test_a_lenient_reading_knows_the_words_of_json_and_of_python():
    assert (
        parse_leniently('{"a": null, "b": true}') == parse_leniently("{'a': None, 'b': True}") == {"a": None, "b": True}
    )
    for text in ("nothing here", "[1]", "", None, "{len('abc')}"):
        with pytest.raises(JudgeTextError):
            parse_leniently(text)
