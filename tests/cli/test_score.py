"""``sdvlm score``: what it prints, writes and refuses."""

from __future__ import annotations

import json

import pytest

from sdvlm.data.schema import QuestionType

JUDGED = [
    '{"model": "m"}\n',
    {"input": "?", "answer": '{"answer_in_meters": [1, 1], "response_in_meters": [1, 1.4]}', "type": "size"},
    {"input": "?", "answer": '{"answer_in_meters": 2, "response_in_meters": 2}', "type": "scale_estimation"},
    {"input": "?", "answer": '{"your_mark": 1}', "type": "left"},
    {"input": "?", "answer": '{"your_mark": 0}', "type": "zero"},
]
PREDICTED = [
    {"model": "m"},
    {"question": "How far is the bed?", "pred": "2.1 m", "gt": "2 m", "type": "distance"},
    {"question": "How far is the lamp?", "pred": "far", "gt": "2 m", "type": "distance"},
    {"question": "Is there a bed?", "pred": "Yes, there is.", "gt": "Yes.", "type": "zero"},
]
WORDS = {"input": "?", "answer": '{"answer_in_meters": "a bed", "response_in_meters": "bed"}', "type": "position"}
GOOD = '{"answer_in_meters": 2, "response_in_meters": 2.1}'


@pytest.fixture
def judged(tmp_path):
    path = tmp_path / "judged.json"
    path.write_text(json.dumps(JUDGED))
    return path


@pytest.fixture
def predicted(tmp_path):
    path = tmp_path / "preds.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in PREDICTED))
    return path


def marking(prompt, number):
    return '{"your_mark": 1}' if "your_mark" in prompt else GOOD


def test_official_and_strict_are_told_apart(judged, run_json):
    official, strict = (run_json("score", judged, "--scorer", name) for name in ("official", "strict"))
    assert official["families"]["scale_estimation"]["correct"] == 2
    family = strict["families"]["scale_estimation"]
    assert family.pop("wilson") == pytest.approx([0.0945, 0.9055], abs=1e-4)
    assert family == {"count": 2, "correct": 1, "rate": 0.5, "interval": [0.0, 1.0], "unparsed": 0}
    assert (official["average"], official["macro"], official["micro"]) == (2 / 8, 2 / 3, 3 / 4)
    assert (strict["average"], strict["macro"], strict["micro"]) == (0.5, 0.5, 0.5)
    assert official["counters"]["quantity"]["scale_estimation"]["rate"] == [2, 2, 2]
    assert (official["scorer"], official["model"], official["count"], official["correct"]) == ("official", "m", 4, 3)
    low, high = official["intervals"]["micro"]
    assert low <= 0.75 <= high


def test_without_a_scorer_both_are_given(judged, run, run_json):
    document = run_json("score", judged)
    assert (document["scorer"], document["strict"]["scorer"]) == ("official", "strict")
    assert document["strict"]["average"] == 0.5
    code, out, _ = run("score", judged)
    assert code == 0
    for word in ("official", "strict", "scale_estimation", "2/2", "1/2", "macro", "micro", "25.00"):
        assert word in out


def test_predictions_are_scored_by_rules(predicted, run_json):
    document = run_json("score", predicted)
    assert document["scorer"] == "rules"
    assert document["families"]["absolute_distance"]["correct"] == 1
    assert document["families"]["absolute_distance"]["unparsed"] == 1
    assert document["families"]["zero"]["rate"] == 1


def test_a_judge_is_asked_and_its_answers_are_kept_and_scored(predicted, judge_server, tmp_path, run, run_json):
    server = judge_server(marking)
    options = ("--judge", server.url, "--judge-model", "j", "--judge-cache", tmp_path / "cache")
    document = run_json("score", predicted, *options)
    assert (document["scorer"], document["micro"], document["strict"]["micro"]) == ("official", 1, 1)
    assert document["judge"] | {"asked": 3, "cached": 0, "failed": [], "model": "j"} == document["judge"]
    assert document["agreement"]["share"] == pytest.approx(2 / 3)
    assert document["agreement"]["families"]["zero"]["count"] == 1
    kept = tmp_path / "preds_judged.json"
    assert document["judge"]["file"] == str(kept)
    assert run_json("score", kept, "--scorer", "official")["families"] == document["families"]
    code, out, _ = run("score", predicted, *options)
    assert code == 0
    assert len(server.requests) == 3
    assert "kappa" in out


def test_rows_that_could_not_be_judged_are_not_scored(predicted, judge_server, tmp_path, run, run_json):
    server = judge_server(lambda prompt, number: (400, "no", {}) if "lamp" in prompt else marking(prompt, number))
    options = ("--judge", server.url, "--judge-model", "j", "--judge-cache", tmp_path / "cache")
    code, out, err = run("score", predicted, *options, "--json")
    assert (code, out) == (1, "")
    assert "not judged: row 2: HTTP 400" in err
    assert "error: 1 of 3 rows could not be judged" in err
    document = run_json("score", predicted, *options, "--leave-out-failed")
    assert document["count"] == 2
    assert document["judge"]["failed"][0]["row"] == 2
    assert len(server.requests) == 4  # the two that were judged were not asked again


def test_equal_words_need_no_encoder(judged, run_json, monkeypatch):
    same = json.dumps({"answer_in_meters": "the brown cabinet", "response_in_meters": "the brown cabinet"})
    judged.write_text(json.dumps([*JUDGED, {"input": "?", "answer": same, "type": "position"}]))
    monkeypatch.setattr("sdvlm.eval.text_similarity._PACKAGE", "no_such_package_of_weights")
    assert run_json("score", judged, "--scorer", "official")["families"]["position"]["correct"] == 1


def test_words_need_an_encoder_or_a_stated_stand_in(judged, run, run_json, monkeypatch):
    judged.write_text(json.dumps([*JUDGED, WORDS]))
    monkeypatch.setattr("sdvlm.eval.text_similarity._PACKAGE", "no_such_package_of_weights")
    code, _, err = run("score", judged, "--scorer", "official")
    assert code == 2
    assert err.startswith("error: comparing positions in words needs all-MiniLM-L6-v2")
    document = run_json("score", judged, "--scorer", "official", "--text-similarity", "words")
    assert "stand-in" in document["text_similarity"]
    assert document["families"]["position"]["correct"] == 1
    assert run_json("score", judged, "--scorer", "strict")["families"]["position"]["correct"] == 1


REFUSED = {
    "unknown type": ([*JUDGED, {"answer": "1", "type": "existence"}], (), "row 5: no question type 'existence'"),
    "rules on judged": (JUDGED, ("--scorer", "rules"), "this file holds a judge's; give the predictions"),
    "no such scorer": (JUDGED, ("--scorer", "best"), "scored by official or strict; got 'best'"),
    "judged again": (JUDGED, ("--judge", "http://h/v1", "--judge-model", "m"), "is judged already"),
    "official on predictions": (
        PREDICTED,
        ("--scorer", "official"),
        "holds predictions, which 'official' cannot score",
    ),
    "no model": (PREDICTED, ("--judge", "http://h/v1"), "needs the name of its model"),
    "no URL": (PREDICTED, ("--judge", "h", "--judge-model", "m"), "is an http:// or https:// URL"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_scored_is_one_line_and_exit_code_2(case, tmp_path, run, monkeypatch):
    rows, options, told = REFUSED[case]
    monkeypatch.delenv("SDVLM_JUDGE_MODEL", raising=False)
    (tmp_path / "x.json").write_text(json.dumps(rows))
    code, out, err = run("score", tmp_path / "x.json", *options)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.strip().splitlines()) == 1


def test_programs_in_a_judges_text_are_noted_and_not_run(tmp_path, run):
    trap = tmp_path / "trap"
    text = f"{{'answer_in_meters': 1, 'response_in_meters': open({str(trap)!r}, 'w')}}"
    (tmp_path / "x.json").write_text(json.dumps([{"input": "?", "answer": text, "type": "count"}]))
    code, out, err = run("score", tmp_path / "x.json", "--json")
    assert code == 0
    assert "row 1: the judge's text is a program" in err
    assert json.loads(out)["families"]["count"]["correct"] == 0
    assert not trap.exists()


def test_every_family_can_be_scored(tmp_path, run_json):
    text = '{"your_mark": 1, "answer_in_meters": [0.5, 0.5], "response_in_meters": [0.5, 0.5]}'
    rows = [{"input": "?", "answer": text, "type": kind.value} for kind in QuestionType]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    document = run_json("score", tmp_path / "x.json")
    assert list(document["families"]) == [kind.value for kind in QuestionType]
    assert document["average"] == document["macro"] == document["micro"] == 1
