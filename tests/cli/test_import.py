"""``sdvlm import`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdvlm.bench.random_official import SHAPES, write_random_official
from sdvlm.cli.main import main
from sdvlm.models.processor import DepthProcessor


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["import", *map(str, arguments)])
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("official") / "any-name"
    write_random_official(SHAPES["toy"], place)
    return place


def test_a_released_checkpoint_is_written_in_our_layout_and_reported(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    code, out, _ = run(capsys, folder, tmp_path / "own", "--mode", "aligned", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["out"], report["pooling"]) == (str(tmp_path / "own"), "boxes")
    assert report["depth_tensors"] > 100
    processor = DepthProcessor.from_pretrained(tmp_path / "own")
    assert processor.fusion is not None
    assert processor.fusion.pooling == "boxes"


def test_bad_input_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ((tmp_path / "nothing", tmp_path / "own"), "no official checkpoint at"),
        ((folder, folder), "is there already"),
        ((folder, tmp_path / "own", "--mode", "median"), "no mode 'median'"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
