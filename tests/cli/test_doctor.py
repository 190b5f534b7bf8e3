import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from sdvlm.cli.doctor import doctor
from sdvlm.depth.codes import sunrgbd_encode
from sdvlm.depth.estimator import ESTIMATORS
from sdvlm.fusion.config import PLACES
from sdvlm.types import SdvlmError

app = typer.Typer()
app.command()(doctor)
RAMP_MM = np.linspace(1000, 5000, 4800).astype(np.uint16).reshape(60, 80)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout


def test_doctor_says_what_is_wrong_with_a_file_on_stderr(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "none.png")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {tmp_path}/none.png: no such file\n"


def test_doctor_lists_versions_devices_extras_and_licences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "not" / "there"))
    code, out = run("--json")
    found = json.loads(out)
    assert code == 0
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["devices"][0].startswith("cpu")
    assert set(found["extras"]) >= {"train", "dev"}
    assert found["estimators"].keys() == ESTIMATORS.keys()
    assert found["estimators"]["depth-pro"]["commercial"] is False
    assert found["models"]["nano"]["licence"]
    assert found["cache"]["folder"] == str(tmp_path / "not" / "there" / "depth")
    assert found["cache"]["free_bytes"] > 0


def test_doctor_marks_non_commercial_weights_in_its_text() -> None:
    code, out = run()
    assert code == 0
    marked = {line.split()[0] for line in out.splitlines() if "NON-COMMERCIAL" in line}
    assert marked == {name for name, spec in ESTIMATORS.items() if not spec.commercial}


def test_doctor_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdvlm.extras.is_installed", lambda module: module != "peft")
    assert "extra train: missing peft (pip install 'sdvlm[train]')" in run()[1]


def test_doctor_explains_depth_files_and_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(sunrgbd_encode(RAMP_MM)).save(tmp_path / "sun.png")
    Image.fromarray((RAMP_MM // 20).astype(np.uint8)).save(tmp_path / "eight.png")
    code, out = run(tmp_path / "sun.png", tmp_path / "eight.png")
    assert code == 0
    sun, eight = out.split(f"{tmp_path}/eight.png")
    assert "SUN RGB-D bit shift (metric)" in sun
    assert "1.00 to 5.00 m, median 3.00 m" in sun
    assert "-> read it with codec='sunrgbd'" in sun
    assert "8-bit picture of depth (a visualisation)" in eight
    reports = json.loads(run(tmp_path / "sun.png", tmp_path / "eight.png", "--json")[1])["files"]
    assert [report["kind"] for report in reports] == ["metric", None]


def test_doctor_reports_unreadable_files_beside_the_others_and_exits_with_2(tmp_path: Path) -> None:
    Image.fromarray(RAMP_MM).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out = run(tmp_path / "bad.png", tmp_path / "good.png", tmp_path / "none.png", "--json")
    bad, good, none = json.loads(out)["files"]
    assert code == 2
    assert "damaged" in bad["error"]
    assert good["encoding"] == "uint16 millimetres"
    assert "no such file" in none["error"]


def test_a_model_is_told_what_each_fusion_would_cost() -> None:
    code, out = run("--model", "nano", "--image-size", "320x240", "--json")
    found = json.loads(out)
    assert (code, found["family"], found["fusion"], found["image_size"]) == (0, "llava", "pointmap", [320, 240])
    costs = {row["fusion"]: row for row in found["fusions"]}
    assert set(costs) == set(PLACES)
    assert costs["concat"]["extra_tokens"] == costs["concat"]["tokens"] == 144
    said = run("--model", "nano")[1]
    for name in PLACES:
        assert f"\n{name} " in said


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--model", "nano", "--image-size", "big"), "WIDTHxHEIGHT"), (("--model", "./nowhere"), "nowhere")],
)
def test_a_model_that_is_not_there_and_a_size_that_is_none_are_refused(words: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, list(words))
    assert isinstance(result.exception, SdvlmError)  # which the command line says in one line, with exit code 2
    assert message in str(result.exception)
