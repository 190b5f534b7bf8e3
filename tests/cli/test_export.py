import json
from pathlib import Path

import pytest

from sdvlm.cli import main as command_line
from sdvlm.data.shards import assemble, write_part


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        command_line.main(arguments)
    return int(end.value.code or 0)


@pytest.fixture
def built(tmp_path: Path, make_record) -> Path:
    for scene in ("a", "b"):
        write_part(tmp_path / scene, [make_record(scene)])
    assemble([("train", tmp_path / "a"), ("test", tmp_path / "b")], tmp_path / "built")
    return tmp_path / "built"


def test_export_writes_every_split_and_says_what_it_wrote(built, tmp_path, capsys) -> None:
    dest = tmp_path / "out"
    assert run(["export", str(built), str(dest), "--format", "messages", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["split"]: one["entries"] for one in told["written"]} == {"train": 1, "test": 8}
    for one in told["written"]:
        assert len(Path(one["path"]).read_text().splitlines()) == one["entries"]


def test_export_takes_the_splits_and_the_conversations_asked_for(built, tmp_path, capsys) -> None:
    dest = tmp_path / "out"
    assert run(["export", str(built), str(dest), "--split", "train", "--per", "question"]) == 0
    assert capsys.readouterr().out.strip() == f"{dest / 'train.json'}: 8 conversations about 1 pictures"
    assert not (dest / "test.json").exists()


@pytest.mark.parametrize("bad", [["--format", "csv"], ["--per", "scene"], ["--split", "val"]])
def test_bad_input_is_one_line_and_exit_code_2(built, tmp_path, capsys, bad) -> None:
    assert run(["export", str(built), str(tmp_path / "out"), *bad]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1


def test_a_folder_that_is_no_finished_build_is_bad_input(tmp_path, capsys) -> None:
    assert run(["export", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "no finished build" in capsys.readouterr().err
