"""docs/train.md: its code runs, and it names every recipe, format and change of depth there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from sdvlm.train.config import FORMATS, LearningRates, VarySettings
from sdvlm.train.recipe import read_recipe, recipe_names, with_settings

TEXT = (Path(__file__).parents[2] / "docs" / "train.md").read_text(encoding="utf-8")


def test_the_code_of_the_document_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/train.md", "exec"), {})


def test_every_recipe_format_group_and_change_of_depth_is_documented():
    names = [*recipe_names(), *FORMATS, *(one.name for one in fields(VarySettings) if one.name != "largest_scale")]
    for name in names:
        assert re.search(rf"^\| `{re.escape(name)}` \|", TEXT, re.M), name
    for group in fields(LearningRates):
        assert re.search(rf"^\|.*\| `{group.name}` \|$", TEXT, re.M), group.name


def test_every_setting_that_a_command_changes_is_one():
    commands = re.findall(r"^\$ sdvlm train .*$", TEXT, re.M)
    assert commands
    for command in commands:
        (recipe,) = re.findall(r"--recipe (\S+)", command)
        with_settings(read_recipe(recipe), dict(re.findall(r"--set (\S+?)=(\S+)", command)))


def test_what_the_document_says_of_the_recipes_is_what_they_hold():
    paper = read_recipe("sd-vlm-llava-1.5-7b")
    assert (paper.lora.r, paper.lora.alpha, paper.global_batch, paper.heldout) == (128, 256, 32, 0.02)
    assert (paper.lr.language_model, paper.lr.projector, paper.lr.vision_tower) == (2e-4, 2e-5, 0)
    assert (paper.arguments["warmup_steps"], paper.arguments["num_train_epochs"]) == (0.03, 1)
    assert read_recipe("qwen2.5-vl-7b").global_batch == 16
    large = [read_recipe(name) for name in recipe_names() if name != "nano-cpu"]
    assert {one.vary.depth_dropout for one in large} == {0.25}
