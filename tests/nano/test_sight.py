"""What the tower of training sees is what the tower of the checkpoint sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig, build_processor, build_vlm
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.recipe import Recipe
from sdvlm.nano.train_tower import pictures_of, shown_depth, sight_of


def recipe_of(config: NanoConfig, early: bool) -> Recipe:
    return replace(Recipe(), config=replace(config, early=early))


def test_depth_moves_the_features_where_the_recipe_says_so(
    config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame], tmp_path: Path
) -> None:
    pixels = pictures_of(frames[:2])
    planes = torch.stack([torch.from_numpy(frame.planes).float() for frame in frames[:2]])
    for early in (True, False):
        sight = sight_of(recipe_of(config, early), tokenizer, 0)
        if early:
            torch.nn.init.normal_(sight.stem.pixels.weight, std=0.1)
        seen, plain = sight.look(pixels, planes), sight.look(pixels)
        assert torch.equal(seen, plain) is not early
        assert torch.equal(sight.look(pixels, torch.zeros_like(planes)), plain)
        sight.save(tmp_path / "sight.safetensors")
        again = sight_of(recipe_of(config, early), tokenizer, 1)
        again.load(tmp_path / "sight.safetensors")
        assert torch.equal(again.look(pixels, planes), seen)


def test_training_sees_what_the_model_sees(config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]) -> None:
    """The features that the stages make of a frame are those of the model and its processor on the same square."""
    early = replace(config, early=True)
    torch.manual_seed(0)
    model = DepthVLM.from_vlm(build_vlm(early, tokenizer), early.fusion).eval()
    torch.nn.init.normal_(model.fusion.stem.pixels.weight, std=0.1)
    sight = sight_of(recipe_of(config, True), tokenizer, 0)
    sight.tower.load_state_dict(model.vlm.model.vision_tower.state_dict())
    sight.stem.load_state_dict(model.fusion.stem.state_dict())
    processor = DepthProcessor.for_model(model, build_processor(early, tokenizer))
    from sdvlm.types import DepthMap

    side, frame = early.image_size, frames[0]
    z = np.random.default_rng(0).uniform(0.5, 6.0, (side, side)).astype(np.float32)
    batch = processor([{"role": "user", "content": [{"type": "image"}]}], [frame.picture], [DepthMap(z)])
    caught: list[torch.Tensor] = []
    projector = model.vlm.model.multi_modal_projector
    handle = projector.register_forward_pre_hook(lambda module, args: caught.append(args[0]))
    with torch.no_grad():
        model(**batch)
        mine = sight(pictures_of([frame]), batch["depth_pixels"])
    handle.remove()
    torch.testing.assert_close(mine, caught[0], atol=1e-4, rtol=1e-4)


def test_a_scaled_picture_has_scaled_labels_and_a_dropped_one_no_depth(
    config: NanoConfig, frames: list[NanoFrame]
) -> None:
    always = replace(recipe_of(config, True), depth_dropout=0.0, scaled_depth=1.0, noisy_depth=0.0)
    planes, factor = shown_depth(always, frames[0], np.random.default_rng(0))
    assert factor != 1
    assert not torch.equal(planes, torch.from_numpy(frames[0].planes).float())
    planes, factor = shown_depth(replace(always, depth_dropout=1.0), frames[0], np.random.default_rng(0))
    assert factor == 1
    assert not planes.any()
