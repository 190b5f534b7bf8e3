"""From rooms to a report, by the commands of the manual: the trained model beats its start."""

from __future__ import annotations

import json
from math import comb

import pytest
import torch

from sdvlm.cli.main import main
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano import NANO_FOLDER

SMALL = ["--scenes", 30, "--frames", 2, "--size", "160x120", "--seed", 5]
SHORT_ANSWERS = ["--set", "questions.phrasing=core", "--set", "questions.answer_style=short", "--reasoning", 0]
FORGOTTEN = 1.0
"""noise in the language model's matrices, in standard deviations of each: nano then has something to learn in a minute,
however well it was trained"""
SHORT_RUN = {
    "arguments.max_steps": 60,
    "global_batch": 4,
    "arguments.per_device_train_batch_size": 4,
    "lr.language_model": 1e-3,
    "lr.projector": 1e-3,
}


@pytest.fixture
def sdvlm(tmp_path, monkeypatch, capsys):
    """Run a command in ``tmp_path``; returns its stdout."""
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        assert ended.value.code in (0, None), said.err
        return said.out

    return run


def forgetful_nano(folder):
    """Nano with noise in its language model, as a checkpoint."""
    model = DepthVLM.from_pretrained(NANO_FOLDER).float()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.vlm.model.language_model.layers.parameters():
            if parameter.ndim == 2:
                drawn = torch.randn(parameter.shape, generator=noise)
                parameter += FORGOTTEN * parameter.std() * drawn
    model.save_pretrained(folder)
    DepthProcessor.from_pretrained(NANO_FOLDER).save_pretrained(folder)


def right_answers(folder):
    """Number of a question to whether its answer passed, told again from the answers."""
    from sdvlm.eval.built_source import BuiltSource

    source = BuiltSource(folder.parent / "built")
    lines = (folder / "answers.jsonl").read_text().splitlines()
    return {one["number"]: source.outcome(one).right for one in map(json.loads, lines)}


def sign_test(better, worse):
    """Probability of at least so many better ones if better and worse were equally likely (McNemar, exact)."""
    changed = better + worse
    return sum(comb(changed, k) for k in range(better, changed + 1)) / 2**changed


@pytest.mark.slow
@pytest.mark.skipif(not (NANO_FOLDER / "model.safetensors").is_file(), reason="the nano weights are not here")
def test_a_model_trained_on_built_rooms_with_a_pretrained_encoder_beats_its_start(tmp_path, sdvlm):
    sdvlm("rooms", "rooms", *SMALL)
    sdvlm("build", "rooms", "built", "--frames", 2, "--test-share", 0.4, *SHORT_ANSWERS)
    forgetful_nano(tmp_path / "forgetful")
    sdvlm("pairs", "rooms", "pairs")
    sdvlm("pretrain", "pairs", "encoder", "--rgb", "nano", "--steps", 3, "--batch", 8, "--set", "eval_every=3")
    changes = [word for name, value in SHORT_RUN.items() for word in ("--set", f"{name}={value}")]
    fusion = ["--fusion", "encoder_add", "--depth-encoder", "encoder/encoder"]
    summary = json.loads(
        sdvlm("train", "built", "run", "--recipe", "nano-cpu", "--model", "forgetful", *fusion, *changes, "--json")
    )
    assert summary["loss_last"] < summary["loss_first"]
    for model, out in (("forgetful", "start"), ("run", "end")):
        sdvlm("eval", "built", "--data", "built", "--model", model, "--out", out)
    shown = sdvlm("report", "start", "end")
    assert "forgetful" in shown
    assert "run" in shown

    start, end = (right_answers(tmp_path / name) for name in ("start", "end"))
    assert start.keys() == end.keys()
    better = sum(end[number] and not start[number] for number in start)
    worse = sum(start[number] and not end[number] for number in start)
    assert sign_test(better, worse) < 0.01, (sum(start.values()), sum(end.values()), len(start))
    scored = json.loads((tmp_path / "end" / "scores.json").read_text())
    assert scored["overall"]["right"] == sum(end.values())
