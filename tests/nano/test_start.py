"""Where training starts: sizes of fresh tokens, and what is taken from a trained checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig, build_vlm
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.recipe import ARMS, Recipe, continued
from sdvlm.nano.start import TOKEN_RMS, Start, check_start, start_tokens
from sdvlm.nano.train_language import Learner
from sdvlm.nano.train_tower import pictures_of, train_tower
from sdvlm.types import SdvlmError


def rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def test_depth_starts_as_large_as_the_picture_whatever_the_size_of_the_features(
    vlm: torch.nn.Module, config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    torch.manual_seed(0)
    fusion = build_fusion(config.fusion, config.text_width)
    features = torch.randn(len(frames), config.image_tokens, config.vision_width)
    features[..., 0] = 1000 + 300 * features[..., 0]  # one channel drowns the others
    depth = torch.stack([torch.from_numpy(frame.depth) for frame in frames])
    start_tokens(vlm, fusion, features, depth)
    with torch.no_grad():
        tokens = vlm.model.multi_modal_projector(features)
        flat, index = tokens.flatten(0, 1), torch.arange(len(frames)).repeat_interleave(config.image_tokens)
        update = fusion(flat, DepthGrid.unpack(depth.flatten(0, 1), index)) - flat
        other = features.clone()
        other[..., 1:] = torch.randn_like(other[..., 1:])
        moved = vlm.model.multi_modal_projector(other) - tokens
    assert abs(rms(tokens) / TOKEN_RMS - 1) < 0.05
    assert abs(rms(update) / TOKEN_RMS - 1) < 0.05
    assert rms(moved) > 0.5 * TOKEN_RMS  # the small channels are heard


@pytest.fixture
def trained(config: NanoConfig, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A checkpoint without depth in its tower, as ``nano.export`` writes it."""
    torch.manual_seed(3)
    model = DepthVLM.from_vlm(build_vlm(config, tokenizer), config.fusion)
    for parameter in model.fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


def test_training_goes_on_from_the_weights_of_a_checkpoint(
    trained: Path, config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    recipe = continued(replace(Recipe(), config=replace(config, early=True)), str(trained))
    start, learner = Start.read(str(trained)), Learner(recipe, tokenizer, 1)
    start.give_language(learner.vlm, learner.behind)
    start.give_tower(learner.sight)
    model = DepthVLM.from_pretrained(trained)
    for name, value in model.vlm.state_dict().items():
        assert torch.equal(learner.vlm.state_dict()[name], value), name
    for name, value in model.fusion.state_dict().items():
        assert torch.equal(learner.behind.state_dict()[name], value), name
    planes = torch.stack([torch.from_numpy(frame.planes).float() for frame in frames])
    with torch.no_grad():  # depth enters the tower as nothing at first
        seen = learner.sight(pictures_of(frames), planes)
        plain = model.vlm.model.vision_tower(pictures_of(frames)).last_hidden_state[:, 1:]
    torch.testing.assert_close(seen, plain, rtol=1e-4, atol=1e-4)


def test_a_first_stage_of_no_steps_leaves_the_tower_as_it_is(
    trained: Path, config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame], tmp_path: Path
) -> None:
    recipe = continued(replace(Recipe(tower_steps=0), config=config), str(trained))
    train_tower(recipe, tmp_path / "tower.safetensors", frames, tokenizer)
    sight = Learner(recipe, tokenizer, 1).sight
    sight.load(tmp_path / "tower.safetensors")
    for name, value in DepthVLM.from_pretrained(trained).vlm.model.vision_tower.state_dict().items():
        assert torch.equal(sight.tower.state_dict()[name], value), name


def test_a_fusion_of_another_kind_starts_afresh(trained: Path, config: NanoConfig, tokenizer: Tokenizer) -> None:
    recipe = ARMS["min-max"](continued(replace(Recipe(), config=config), str(trained)))
    learner = Learner(recipe, tokenizer, 1)
    before = {name: value.clone() for name, value in learner.behind.state_dict().items()}
    Start.read(str(trained)).give_language(learner.vlm, learner.behind)
    assert all(torch.equal(value, before[name]) for name, value in learner.behind.state_dict().items())


def test_what_cannot_be_started_from_is_refused(tmp_path: Path, config: NanoConfig) -> None:
    with pytest.raises(SdvlmError, match="holds no nano checkpoint"):
        check_start(str(tmp_path), config)
    (tmp_path / "nano.json").write_text(json.dumps(config.to_dict()))
    check_start(str(tmp_path), config)
    with pytest.raises(SdvlmError, match="a model with text_width 60, and one with 72 is to be trained"):
        check_start(str(tmp_path), replace(config, text_width=72))
