"""The whole recipe at toy size: every stage runs, leaves its file, and is not run again."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig
from sdvlm.nano.frames import ShardConfig
from sdvlm.nano.recipe import Recipe, continued
from sdvlm.nano.train import train_nano
from sdvlm.types import SdvlmError


@pytest.fixture
def toy_recipe(config: NanoConfig) -> Recipe:
    shard = ShardConfig(rooms=12, frames_per_room=6, questions_per_frame=16)
    steps = {"tower_steps": 3, "naming_steps": 2, "steps": 2, "vocab_size": 800}
    early = replace(config, early=True)  # as shipped; the controls turn it off
    return replace(Recipe(), config=early, shard=shard, shards=2, tower_batch=2, pictures=2, questions=8, **steps)


def test_the_recipe_runs_through_and_what_is_there_is_not_made_again(tmp_path: Path, toy_recipe: Recipe) -> None:
    arms = ("with-depth", "min-max")
    train_nano(toy_recipe, tmp_path, arms)
    for arm in arms:
        model = DepthVLM.from_pretrained(tmp_path / arm / "checkpoint")
        assert model.fusion is not None
        assert DepthProcessor.from_pretrained(tmp_path / arm / "checkpoint").tokenizer.eos_token == "<eos>"
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert not list(tmp_path.rglob("*.tmp"))
    (tmp_path / "with-depth" / "weights.safetensors").unlink()
    train_nano(toy_recipe, tmp_path, arms)
    again = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert {path.name for path in again if again[path] != made.get(path)} <= {"weights.safetensors"}
    with pytest.raises(SdvlmError, match="holds a run with steps 2, and 3 was asked for"):
        train_nano(replace(toy_recipe, steps=3), tmp_path, arms)


def test_arms_trained_side_by_side_come_to_the_weights_of_arms_trained_in_turn(
    tmp_path: Path, toy_recipe: Recipe
) -> None:
    arms = ("with-depth", "min-max")
    in_turn = train_nano(toy_recipe, tmp_path / "in-turn", arms)
    shutil.copytree(tmp_path / "in-turn" / "data", tmp_path / "beside" / "data")
    beside = train_nano(toy_recipe, tmp_path / "beside", arms, workers=2)
    for one, other in zip(in_turn, beside, strict=True):
        ours, theirs = (load_file(place / "model.safetensors") for place in (one, other))
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert torch.allclose(value.float(), theirs[name].float(), atol=2e-3), name


def test_a_run_goes_on_from_the_checkpoint_of_another(tmp_path: Path, toy_recipe: Recipe) -> None:
    first = train_nano(toy_recipe, tmp_path / "first", ("with-depth",))[0]
    shutil.copytree(tmp_path / "first" / "data", tmp_path / "second" / "data")
    recipe = continued(toy_recipe, str(first))
    second = train_nano(recipe, tmp_path / "second", ("with-depth",))[0]
    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    before, after = (dict(DepthVLM.from_pretrained(one).named_parameters()) for one in (first, second))
    moved = {name: (value.float(), after[name].float()) for name, value in before.items() if value.ndim > 1}
    assert any(not torch.equal(old, new) for old, new in moved.values())
    for name, (old, new) in moved.items():  # two steps at a small rate, not fresh weights
        if old.std() > 0.01:
            assert torch.nn.functional.cosine_similarity(old.flatten(), new.flatten(), dim=0) > 0.9, name


def test_checkpoints_kept_on_the_way_are_those_of_a_run_that_goes_on(tmp_path: Path, toy_recipe: Recipe) -> None:
    recipe = replace(toy_recipe, steps=101, keep_every=100)
    (last,) = train_nano(recipe, tmp_path, ("with-depth",))
    (kept,) = [path for path in (last.parent / "weights-on-the-way").iterdir() if path.is_dir()]
    assert kept.name == "00100"
    before, after = (dict(DepthVLM.from_pretrained(one).named_parameters()) for one in (kept, last))
    apart = [float((value.float() - after[name].float()).abs().max().detach()) for name, value in before.items()]
    assert 0 < max(apart) < 0.01  # one step at the end of the schedule
