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
        write_part(tmp_path / scene, [make_record(scene, frame) for frame in range(3)])
    assemble([("train", tmp_path / "a"), ("test", tmp_path / "b")], tmp_path / "built")
    return tmp_path / "built"


def test_inspect_writes_a_page_into_the_folder_and_says_what_is_there(built, capsys) -> None:
    assert run(["inspect", str(built), "--limit", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "train: 24 questions about 3 pictures of 1 scenes" in told
    assert (built / "inspect.html").read_text().count('<article class="sample">') == 2


def test_inspect_prints_the_statistics_as_one_document(built, tmp_path, capsys) -> None:
    page = tmp_path / "deep/page.html"
    assert run(["inspect", str(built), "--page", str(page), "--split", "test", "--limit", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["families"] == {"test": dict.fromkeys(told["families"]["test"], 3)}
    assert len(told["families"]["test"]) == 8
    assert told["page"] == str(page)
    assert page.is_file()


@pytest.mark.parametrize("bad", [["--limit", "-1"], ["--split", "val"]])
def test_bad_input_is_one_line_and_exit_code_2(built, capsys, bad) -> None:
    assert run(["inspect", str(built), *bad]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1


def test_a_page_that_is_a_folder_is_refused(built, tmp_path, capsys) -> None:
    assert run(["inspect", str(built), "--page", str(tmp_path)]) == 2
    assert "is a folder; give a file to write" in capsys.readouterr().err
