"""A whole run: what it leaves, going on after it was stopped, and the same run in two processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sdvlm.models.load import load_from
from sdvlm.train.config import LearningRates, LoraSettings, VarySettings
from sdvlm.train.recipe import to_yaml
from sdvlm.train.rehearse import rehearse
from sdvlm.train.run import train
from sdvlm.train.summary import read_summary
from sdvlm.train.trainer import last_checkpoint
from sdvlm.types import SdvlmError

from .conftest import FAMILY, QUESTIONS
from .runs import config_of, losses, weights


class Stopped(Exception):
    pass


@pytest.mark.parametrize("name", list(FAMILY))
def test_a_run_leaves_a_model_that_answers_as_the_trained_one(name, model_folders, chat, tmp_path):
    told = []
    result = train(config_of(model_folders[name], chat), tmp_path / "run", told.append, cache=tmp_path / "cache")
    assert result.resumed is None
    assert read_summary(result.out).steps == 6
    found = losses(result.out)
    assert list(found) == list(range(1, 7))
    assert found[6] < found[1]
    assert any("held-out loss" in line and "without depth" in line for line in told)
    model, processor = load_from(str(result.out), "cpu")
    assert model.fusion is not None
    names = {path.name for path in result.out.iterdir()}
    assert {"adapter_model.safetensors", "fusion.safetensors", "config.json", "recipe.yaml", "summary.json"} <= names
    fresh = load_from(str(model_folders[name]), "cpu")[0]
    tensors = load_file(result.out / "fusion.safetensors")
    assert any(one.abs().max() > 0 for one in tensors.values())
    prompt = processor(text="Table?")
    with torch.no_grad():
        assert not torch.allclose(model(**prompt).logits, fresh(**prompt).logits)


def test_a_stopped_run_goes_on_to_the_same_losses_and_weights(model_folders, chat, tmp_path):
    config = config_of(model_folders["llava"], chat)
    whole = train(config, tmp_path / "whole", cache=tmp_path / "cache").out

    def stop(line):
        if line.startswith("step 5 "):
            raise Stopped

    with pytest.raises(Stopped):
        train(config, tmp_path / "cut", stop, cache=tmp_path / "cache")
    assert not (tmp_path / "cut" / "adapter_model.safetensors").exists()
    gone_on = train(config, tmp_path / "cut", cache=tmp_path / "cache")
    assert gone_on.resumed == 4
    assert losses(gone_on.out) == pytest.approx(losses(whole), rel=1e-6)
    wanted = weights(whole)
    found = weights(gone_on.out)
    assert found.keys() == wanted.keys()
    for name, one in wanted.items():
        assert torch.allclose(found[name], one, atol=1e-6), name


def test_a_checkpoint_that_was_not_finished_is_passed_over(tmp_path):
    for step, state in ((2, '{"global_step": 2}'), (4, '{"global_step": 4}'), (6, '{"global_st')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-8").mkdir()
    assert last_checkpoint(tmp_path).name == "checkpoint-4"
    assert last_checkpoint(tmp_path / "none") is None


def test_packed_and_separate_rows_train_alike(model_folders, chat, tmp_path):
    """The same dialogues in each step, once packed and once a row each: the same weights in the end."""
    same = {"vary": VarySettings(), "heldout": 0.0, "lora": LoraSettings(4, 8, 0.0), "global_batch": 13, "steps": 2}
    ends = []
    for pack in (True, False):
        rows = {"global_batch": 13} if pack else {"global_batch": 37}
        config = config_of(model_folders["qwen2.5-vl"], chat, pack=pack, **(same | rows))
        config.arguments["per_device_train_batch_size"] = rows["global_batch"]
        ends.append(weights(train(config, tmp_path / str(pack), cache=tmp_path / "cache").out))
    packed, apart = ends
    assert packed.keys() == apart.keys()
    change = torch.cat([(packed[name] - apart[name]).flatten() for name in packed]).norm()
    assert change < 1e-3 * torch.cat([one.flatten() for one in packed.values()]).norm()


def test_another_run_is_kept_out_of_the_folder(model_folders, chat, tmp_path):
    config = config_of(model_folders["llava"], chat, steps=1)
    train(config, tmp_path / "run", cache=tmp_path / "cache")
    other = config_of(model_folders["llava"], chat, steps=1, lr=LearningRates(1e-3))
    with pytest.raises(SdvlmError, match="holds a run with other settings"):
        train(other, tmp_path / "run", cache=tmp_path / "cache")


def test_the_rehearsal_shows_groups_a_sample_and_a_picture_and_trains_nothing(model_folders, chat, tmp_path):
    config = config_of(model_folders["llava"], chat)
    shown = rehearse(config, tmp_path / "run", lambda line: None, cache=tmp_path / "cache")
    assert {row.name for row in shown.preflight.groups} == {"language_model", "projector", "fusion", "frozen"}
    learned = "".join(text for text, said in shown.preflight.sample if said)
    assert " m away" in learned
    assert not any(question in learned for question in QUESTIONS)
    assert shown.preflight.problems == ()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["dry-run.png"]
    with Image.open(shown.overlay) as picture:
        assert picture.width > 100


# ---- other processes ----------------------------------------------------------------------------------------------

RUN = "import sys; from sdvlm.cli.main import main; main(sys.argv[1:])"


def started(config, chat, out, cache, recipe, **environment):
    recipe.write_text(to_yaml(config), encoding="utf-8")
    settings = ["--set", f"data=[{{path: {chat / 'chat.jsonl'}, depth: {chat / 'depth'}}}]"]
    command = [
        sys.executable,
        "-c",
        RUN,
        "train",
        str(chat / "chat.jsonl"),
        str(out),
        "--recipe",
        str(recipe),
        *settings,
    ]
    common = os.environ | {"SDVLM_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=common | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_losses(model_folders, chat, tmp_path):
    config = config_of(model_folders["llava"], chat, steps=8)
    whole = train(config, tmp_path / "whole", cache=tmp_path / "cache").out
    first = started(config, chat, tmp_path / "cut", tmp_path / "cache", tmp_path / "recipe.yaml")
    until = time.monotonic() + 240
    while not last_checkpoint(tmp_path / "cut" / "checkpoints"):
        assert time.monotonic() < until
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    again = started(config, chat, tmp_path / "cut", tmp_path / "cache", tmp_path / "recipe.yaml")
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "going on from checkpoint-" in err
    assert losses(tmp_path / "cut") == pytest.approx(losses(whole), rel=1e-6)


@pytest.mark.slow
def test_two_processes_train_as_one_does(model_folders, chat, tmp_path):
    config = config_of(model_folders["qwen2.5-vl"], chat, steps=3, lora=LoraSettings(4, 8, 0.0))
    whole = train(config, tmp_path / "one", cache=tmp_path / "cache").out
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        started(
            config, chat, tmp_path / "two", tmp_path / "cache", tmp_path / "recipe.yaml",
            RANK=str(rank), LOCAL_RANK=str(rank), **group,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert losses(tmp_path / "two") == pytest.approx(losses(whole), rel=1e-4)
    wanted = weights(whole)
    found = weights(tmp_path / "two")
    assert found.keys() == wanted.keys()
    for name, one in wanted.items():
        assert torch.allclose(found[name], one, rtol=1e-3, atol=1e-4), name
