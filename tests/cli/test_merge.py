"""``sdvlm merge`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import sdvlm
from sdvlm.cli.main import main
from sdvlm.models.adapters import add_lora
from sdvlm.models.load import load_from
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.run_folder import Base, save_run
from sdvlm.models.wrapper import DepthVLM

pytest.importorskip("peft")

NANO = Path(sdvlm.__file__).parent / "nano" / "weights"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["merge", *map(str, arguments)])
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano with adapters that say something."""
    model = DepthVLM.from_pretrained(NANO, dtype=torch.float32)
    add_lora(model, 2, 4)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.02)
    place = tmp_path_factory.mktemp("runs") / "run"
    save_run(place, model, DepthProcessor.from_pretrained(NANO), Base(str(NANO)))
    return place


def test_a_run_becomes_a_plain_folder_that_answers_as_it_does(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    code, out, _ = run(capsys, folder, tmp_path / "plain", "--json")
    told = json.loads(out)
    model, processor = load_from(str(tmp_path / "plain"), "cpu")
    adapted, _ = load_from(str(folder), "cpu")
    assert code == 0
    assert told["layers"] == 7 * model.config.get_text_config().num_hidden_layers
    assert told["bytes"] == sum(path.stat().st_size for path in (tmp_path / "plain").glob("*.safetensors"))
    said = [{"role": "user", "content": "How far is the chair from the camera?"}]
    inputs = dict(processor([said]))
    logits = [one(**inputs).logits for one in (model, adapted, DepthVLM.from_pretrained(NANO, dtype=torch.float32))]
    torch.testing.assert_close(logits[0], logits[1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits[0], logits[2], atol=1e-1)


def test_bad_input_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ((tmp_path / "nothing", tmp_path / "out"), "no model folder"),
        ((NANO, tmp_path / "out"), "nothing to merge"),
        ((folder, folder), "is there already"),
        ((folder, tmp_path / "out", "--base", tmp_path), "has no config.json"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()
