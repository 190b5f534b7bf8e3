"""``sdvlm demo`` end to end on a tiny random model."""

import pytest
from PIL import Image

from sdvlm.data.schema import QuestionType


@pytest.fixture(scope="module")
def tiny_demo(tiny_folder, tmp_path_factory):
    return ("demo", "--model", tiny_folder, "--seed", 3, "--out", tmp_path_factory.mktemp("demo") / "new")


def test_the_document_holds_all_kinds_with_truth_and_both_answers_and_the_page_is_written(run_json, tiny_demo):
    document = run_json(*tiny_demo)
    assert {one["type"] for one in document["answers"]} == {kind.value for kind in QuestionType}
    for one in document["answers"]:
        assert one["truth"]
        assert set(one["with_depth"]) == set(one["without_depth"]) == {"answer", "right"}
    counted = sum(one["with_depth"]["right"] for one in document["answers"])
    assert document["right"]["with_depth"] == counted
    assert document["right"]["of"] == len(document["answers"]) == 12
    other = document["another_scale"]
    assert other["factor"] < 1
    assert other["right"]["of"] == len(other["answers"]) >= 3
    truths = {one["question"]: one["truth"] for one in document["answers"]}
    assert all(truths.get(one["question"]) != one["truth"] for one in other["answers"])
    out = tiny_demo[-1]
    assert sorted(path.name for path in out.iterdir()) == ["demo.png", "index.html"]
    html = (out / "index.html").read_text(encoding="utf-8")
    assert document["answers"][0]["truth"] in html
    assert "--seed 3" in html
    with Image.open(out / "demo.png") as picture:
        assert picture.width == 1280
    assert (out / "demo.png").stat().st_size < 600_000


def test_the_table_shows_question_truth_and_both_answers(run, tiny_demo):
    code, out, err = run(*tiny_demo, "--questions", 8)
    assert code == 0
    for head in ("Question", "Truth", "With depth", "Without depth", "8 questions"):
        assert head in out
    assert "index.html" in out
    assert out.count("With depth") == 2
    assert "which only depth tells" in out
    assert "building a room" in err


def test_too_few_questions_for_all_kinds_are_a_usage_error(run, tiny_demo):
    code, _, err = run(*tiny_demo, "--questions", 7)
    assert code == 2
    assert err.count("\n") == 1
