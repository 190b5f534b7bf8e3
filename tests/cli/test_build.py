"""``sdvlm build`` as a newcomer types it: what it prints, its exit codes, one line for bad input."""

import errno
import json
import os
import shutil

import pytest

from sdvlm.scenes.room_dataset import RoomDataset, write_rooms


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    root = tmp_path_factory.mktemp("scans")
    write_rooms(root, RoomDataset(2, seed=11, frames=2, image_size=(160, 120), supersample=1))
    return root


def test_scenes_become_verified_data_and_a_second_run_does_nothing(scans, tmp_path, run_json):
    words = ["build", scans, tmp_path / "out", "--test-share", "0.5", "--verify", "--min-scenes", "1"]
    first = run_json(*words)
    assert (first["built"], first["kept"], first["rejected"]) == (2, 0, [])
    assert first["verified"]["faults"] == []
    assert first["verified"]["questions"] == sum(counts["questions"] for counts in first["counts"].values()) > 0
    assert all((tmp_path / "out" / name).is_file() for name in first["files"])
    again = run_json(*words)
    assert (again["built"], again["kept"], again["counts"]) == (0, 2, first["counts"])


def test_units_and_settings_reach_the_questions(scans, tmp_path, run_json):
    from sdvlm.data.built import iter_records
    from sdvlm.data.manifest import read_manifest

    out = tmp_path / "out"
    run_json("build", scans, out, "--units", "ft", "--set", "select.min_visibility=0.9", "--set", "min_questions=1")
    records = [one for split in read_manifest(out).splits for one in iter_records(out, split)]
    lengths = [one for record in records for one in record.samples if one.answer_typed.unit == "m"]
    assert lengths
    assert {one.said_unit for one in lengths} == {"ft"}
    kept = [thing for record in records for thing in record.objects if thing.dropped is None]
    assert min(thing.visibility for thing in kept) >= 0.9


def test_families_are_chosen_by_weights(scans, tmp_path, run_json):
    words = ["--set", 'questions.weights={"count": 1, "zero": 1}', "--set", "min_questions=1"]
    counts = run_json("build", scans, tmp_path / "out", "--reader", "scannet", *words)["counts"]
    assert {kind for split in counts.values() for kind in split["types"]} == {"count", "zero"}


def test_a_full_disk_is_told_with_its_folder(scans, tmp_path, run, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sdvlm.data.build.assemble", full)
    code, _, err = run("build", scans, tmp_path / "out", "--reader", "scannet")
    assert code == 1
    assert f"error: {tmp_path / 'out'}: No space left on device" in err


def test_a_rejected_scene_is_told_and_exits_with_one_unless_allowed(scans, tmp_path, run):
    spoilt = shutil.copytree(scans, tmp_path / "spoilt")
    (spoilt / "scene0001_00" / "scene0001_00.aggregation.json").unlink()
    code, _, err = run("build", spoilt, tmp_path / "out", "--reader", "scannet")
    assert code == 1
    assert "scene0001_00.aggregation.json" in err
    assert "rejected.jsonl" in err
    line = json.loads((tmp_path / "out" / "rejected.jsonl").read_text())
    assert (line["scene_id"], line["frame_id"]) == ("scene0001_00", None)
    code, out, _ = run("build", spoilt, tmp_path / "out", "--reader", "scannet", "--allow-rejected")
    assert code == 0
    assert "0 scenes built, 1 kept" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "select.nonsense=1"], "no setting 'select.nonsense'"),
        (["--set", "select.min_visibility=2"], "between 0 and 1"),
        (["--set", "select.min_visibility=high"], "select.min_visibility"),
        (["--set", "visibility.depth_tolerance_m=NaN"], "visibility.depth_tolerance_m"),
        (["--set", "questions.weights=1"], "wanted a JSON object"),
        (["--set", 'questions.weights={"nope": 1}'], "nope"),
        (["--set", "seed"], "KEY=VALUE"),
        (["--units", "furlong"], "furlong"),
        (["--distance", "sideways"], "sideways"),
        (["--reader-option", "box=round"], "box"),
        (["--reader-option", "nonsense=1"], "no option nonsense"),
        (["--workers", "2"], "one job at a time"),
    ],
)
def test_bad_settings_are_one_line_and_exit_with_two(scans, tmp_path, run, words, told):
    code, out, err = run("build", scans, tmp_path / "out", "--reader", "scannet", *words)
    assert code == 2
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert not (tmp_path / "out" / "data").exists()


def test_a_folder_of_no_layout_is_refused(tmp_path, run):
    (tmp_path / "empty").mkdir()
    code, _, err = run("build", tmp_path / "empty", tmp_path / "out")
    assert code == 2
    assert "no layout" in err


def test_no_resume_refuses_a_folder_that_is_not_empty(scans, tmp_path, run):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    code, _, err = run("build", scans, tmp_path / "out", "--no-resume")
    assert code == 2
    assert "not empty" in err
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--writer", "m"], "give both or neither"),
        (["--endpoint", "http://localhost:1/v1"], "give one of them"),
        (["--endpoint", "ftp://x", "--reword", "m"], "http:// or https://"),
    ],
)
def test_endpoints_half_given_are_refused(scans, tmp_path, run, words, told):
    code, _, err = run("build", scans, tmp_path / "out", "--reader", "scannet", *words)
    assert code == 2
    assert told in err


def test_an_endpoint_that_talks_nonsense_costs_nothing_and_a_dead_one_rejects_the_frames(
    scans, tmp_path, run, run_json, judge_server, monkeypatch
):
    from sdvlm.data.built import iter_records
    from sdvlm.endpoint.config import EndpointConfig

    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    check = EndpointConfig.__post_init__

    def impatient(config):
        check(config)
        object.__setattr__(config, "first_wait_s", 0.0)

    monkeypatch.setattr(EndpointConfig, "__post_init__", impatient)
    server = judge_server(lambda prompt, count: "nonsense")
    words = ["--reader", "scannet", "--reword", "seer", "--test-share", "0", "--set", "min_questions=1"]
    document = run_json("build", scans, tmp_path / "out", "--endpoint", server.url, *words)
    assert document["rejected"] == []  # nonsense is no name: the geometric names stay
    records = list(iter_records(tmp_path / "out", "train"))
    assert sum(len(record.samples) for record in records) == document["counts"]["train"]["questions"] > 0
    assert server.requests
    server.close()
    code, _, err = run("build", scans, tmp_path / "dead", "--endpoint", server.url, "--reword", "other", *words[:2])
    assert code == 1
    assert "rejected scene0000_00, frame 0: " in err
    assert not (tmp_path / "dead" / "manifest.json").exists()
