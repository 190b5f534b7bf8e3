import json
from pathlib import Path

import pytest

from sdvlm.cli.main import main
from sdvlm.scenes.scannet import read_scannet_scene


def run(arguments: list[str]) -> int:
    try:
        return int(main(arguments) or 0)
    except SystemExit as end:
        return int(end.code or 0)


def test_rooms_writes_scenes_that_the_reader_reads_and_keeps_them_on_a_second_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "rooms",
        str(tmp_path / "out"),
        "--scenes",
        "2",
        "--seed",
        "5",
        "--frames",
        "1",
        "--size",
        "64x48",
        "--json",
    ]
    assert run(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["written"] == 2
    for listed in first["scenes"]:
        scene = read_scannet_scene(listed["path"])
        assert len(scene.objects) == listed["objects"]
        assert [frame.load().size for frame in scene.frames] == [(64, 48)]
    assert run(arguments) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["written"] == 0
    assert all(listed["skipped"] for listed in second["scenes"])


@pytest.mark.parametrize("bad", [["--size", "64"], ["--size", "4x4"], ["--scenes", "0"], ["--seed", "-1"]])
def test_bad_input_is_one_line_and_exit_code_2(
    bad: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rooms", str(tmp_path / "out"), *bad]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1


def test_a_file_in_place_of_the_folder_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("")
    assert run(["rooms", str(tmp_path / "out")]) == 2
    assert "is a file" in capsys.readouterr().err
