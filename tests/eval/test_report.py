"""The table holds the numbers of the runs, stands beside the published rows, and says who scored what."""

import json

import pytest

from sdvlm.data.schema import QuestionType
from sdvlm.eval.published import COLUMNS, PUBLISHED
from sdvlm.eval.report import make_report
from sdvlm.eval.report_files import write_report
from sdvlm.eval.report_text import NO_GENERAL, NOT_THE_JUDGE, notes, tables, to_html, to_markdown, to_text
from sdvlm.eval.run_folder import CONTROLS
from sdvlm.eval.scoring import wilson
from sdvlm.types import SdvlmError

ASKED = dict(zip(COLUMNS, (48, 96, 259, 87, 161, 40, 106, 190), strict=True))


def write_run(folder, right, model="org/model", bench="msmu", control=None, asked=ASKED, name="scores.json"):
    """A finished run with ``right`` answers in each of the families asked."""
    families = {
        family.value: {"asked": count, "right": min(right, count), "unparsed": 1, "rate": 0, "interval": [0, 1]}
        for family, count in asked.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    document = {"model": model, "bench": bench, "control": control, "families": families}
    (folder / name).write_text(json.dumps(document))
    return folder


def cells(table, name):
    return next(dict(zip(table.head, row, strict=True)) for row in table.rows if row[0] == name)


def test_rates_means_and_counts_are_those_of_the_answers(tmp_path):
    report = make_report([write_run(tmp_path / "run", 20)])
    row = cells(tables(report)[0], "org/model")
    rates = [100 * 20 / count for count in ASKED.values()]
    assert [row[letter] for letter in "ECSGPDKR"] == [f"{rate:.2f}" for rate in rates]
    assert row["mean"] == f"{sum(rates) / 8:.2f}"
    assert row["all"] == f"{100 * 160 / 987:.2f}"
    assert row["n"] == "987"
    assert row["scored by"] == "rules"
    counts = cells(tables(report)[1], "Absolute distance")
    low, high = wilson(20, 40)
    assert counts == {
        "": "Absolute distance",
        "rate": "50.00",
        "95 % interval": f"{100 * low:.1f} to {100 * high:.1f}",
        "right": "20",
        "asked": "40",
        "unread": "1",
    }


def test_every_published_row_is_there_with_both_averages_and_its_note(tmp_path):
    report = make_report([write_run(tmp_path / "run", 20)])
    table = tables(report)[0]
    assert [row[0] for row in table.rows[1:]] == [f"{row.name} (published)" for row in PUBLISHED]
    official = cells(table, "SD-VLM (published)")
    assert (official["mean"], official["printed"], official["scored by"]) == ("55.74", "56.31", "judge")
    assert cells(table, "SD-VLM + CoT (published)")["mean"] == ""
    said = notes(report)
    assert NOT_THE_JUDGE in said
    assert any("average 55.74" in note and "56.31" in note for note in said)
    assert any("No run has its controls" in note for note in said)


def test_controls_follow_their_run_and_judged_scores_become_rows(tmp_path):
    run = write_run(tmp_path / "run", 20)
    for control in CONTROLS:
        write_run(run / control, 10, control=control)
    judged = {"families": {family.value: {"count": 40, "correct": 30} for family in QuestionType}, "average": 0.75}
    judged["scorer"] = "official"
    (run / "scores-gpt.json").write_text(json.dumps(judged))
    report = make_report([run])
    names = ["org/model", "org/model, depth withheld", "org/model, another picture's depth", "org/model (gpt)"]
    assert [row.name for row in report.runs] == names
    assert report.runs[1].control == "depth-off"
    assert (report.runs[3].scorer, report.runs[3].mean) == ("official", pytest.approx(75.0))
    assert not any("No run has its controls" in note for note in notes(report))
    assert make_report([run / "depth-off"]).runs[0].name == names[1]  # a control's own folder is named as one


def test_runs_of_one_model_are_told_apart_by_their_folders(tmp_path):
    report = make_report([write_run(tmp_path / name, 20) for name in ("first", "second")])
    assert [row.name for row in report.runs] == ["org/model [first]", "org/model [second]"]


def test_runs_over_other_questions_are_told(tmp_path):
    runs = [write_run(tmp_path / name, 20) for name in ("first", "second")]
    for run, print_ in zip(runs, "aa", strict=True):
        (run / "run.json").write_text(json.dumps({"settings": {"data_fingerprint": print_}}))
    assert not any("same questions" in note for note in notes(make_report(runs)))
    (runs[1] / "run.json").write_text(json.dumps({"settings": {"data_fingerprint": "b"}}))
    assert any("same questions" in note for note in notes(make_report(runs)))


def test_rooms_are_not_set_beside_msmu(tmp_path):
    report = make_report([write_run(tmp_path / "run", 20, bench="rooms")])
    assert report.published == ()
    assert "printed" not in tables(report)[0].head
    assert NOT_THE_JUDGE not in notes(report)


def test_families_that_were_not_asked_stay_empty_and_are_told(tmp_path):
    few = {QuestionType.COUNT: 10, QuestionType.ZERO: 10}
    report = make_report([write_run(tmp_path / "run", 4, asked=few)])
    row = cells(tables(report)[0], "org/model")
    assert (row["C"], row["S"], row["mean"]) == ("40.00", "", "40.00")
    assert any("6 of 8 families were not asked" in note for note in notes(report))
    write_report(report, tmp_path / "out")


def write_general(folder, right, asked=50, long_references=0, control=None):
    """A finished run over general questions."""
    families = {"general": {"asked": asked, "right": right, "unparsed": 2, "rate": 0, "interval": [0, 1]}}
    document = {"model": "org/model", "bench": "general", "control": control, "scorer": "exact match"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(document | {"families": families}))
    about = {"data": "somewhere/vqa.json", "rows": asked, "long_references": long_references}
    (folder / "run.json").write_text(json.dumps({"settings": {"data_fingerprint": "g"}, "data": about}))
    return folder


def test_general_questions_stand_beside_in_a_table_of_their_own(tmp_path):
    run, general = write_run(tmp_path / "run", 20), write_general(tmp_path / "general", 30)
    write_run(run / "depth-off", 10, control="depth-off")
    write_general(general / "depth-off", 20, control="depth-off")
    report = make_report([run, general])
    assert [row.name for row in report.runs] == ["org/model", "org/model, depth withheld"]
    spatial, beside, *others = tables(report)
    assert len(others) == 2
    assert "exact match" not in str(spatial.rows)
    low, high = wilson(30, 50)
    row = ("org/model", "vqa.json", "60.00", f"{100 * low:.1f} to {100 * high:.1f}", "30", "50", "2", "exact match")
    assert beside.rows[0] == row
    assert beside.rows[1][:3] == ("org/model, depth withheld", "vqa.json", "40.00")
    assert not any("general questions" in note or "not all asked" in note for note in notes(report))
    assert "60.00" in to_html(report)
    write_report(report, tmp_path / "out")


def test_a_report_without_a_general_run_says_what_it_cannot_tell(tmp_path):
    assert NO_GENERAL in notes(make_report([write_run(tmp_path / "run", 20)]))


def test_a_report_of_general_runs_alone_draws_nothing_about_families(tmp_path):
    report = make_report([write_general(tmp_path / "one", 30), write_general(tmp_path / "two", 20, long_references=7)])
    (table,) = tables(report)
    assert [row[0] for row in table.rows] == ["org/model [one]", "org/model [two]"]
    assert notes(report) == [
        "org/model [two]: 7 of 50 references are no short answers, so that exact match seldom passes them."
    ]
    names = [path.name for path in write_report(report, tmp_path / "out")]
    assert names == ["report.json", "report.md", "report.html"]


def test_text_markdown_and_page_hold_the_same_cells(tmp_path):
    report = make_report([write_run(tmp_path / "run", 20, model="org/<b>|model")])
    text, markdown, page = to_text(report), to_markdown(report), to_html(report)
    for table in tables(report):
        for row in table.rows:
            for cell in row[1:]:
                assert cell in text
                assert cell in markdown
                assert cell in page
    assert "<b>" not in page
    assert "&lt;b&gt;|model" in page
    assert "org/<b>\\|model" in markdown
    for document in (text, markdown):
        assert NOT_THE_JUDGE in document
    assert "not the judge&#x27;s scores" in page


def test_the_files_are_written_and_the_page_needs_no_other(tmp_path):
    paths = write_report(make_report([write_run(tmp_path / "run", 20)]), tmp_path / "out")
    names = ["report.json", "report.md", "report.html", "bars.png", "bars.svg", "radar.png", "radar.svg"]
    assert [path.name for path in paths] == names
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["rows"][0]["counts"]["overall"]["asked"] == 987
    assert document["rows"][-2]["printed_average"] == 56.31
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "(bars.svg)" in markdown


@pytest.mark.parametrize("found", [None, "{", '{"families": {"depth": {}}, "model": "m", "bench": "msmu"}'])
def test_a_folder_without_a_finished_run_is_told_in_one_line(tmp_path, found):
    if found is not None:
        (tmp_path / "scores.json").write_text(found)
    with pytest.raises(SdvlmError) as error:
        make_report([tmp_path])
    assert "\n" not in str(error.value)
    with pytest.raises(SdvlmError, match="no folder"):
        make_report([tmp_path / "none"])
    with pytest.raises(SdvlmError, match="at least one"):
        make_report([])
