"""The toy's inputs say the same depths whatever place they take."""

import math

import numpy as np
import pytest
import torch

from sdvlm.eval.toy import draw, packed_grid
from sdvlm.eval.toy_inputs import CELLS, IMAGE, PATCH, UNKNOWN, VOCABULARY, toy_inputs
from sdvlm.fusion.config import PLACES, FusionConfig
from sdvlm.fusion.renderers import unpack24

PATCHES = CELLS * CELLS


@pytest.fixture
def shown():
    batch = draw(np.random.default_rng(0), 3, "ordinal")
    return batch.pixels, batch.z, packed_grid(batch.z)


@pytest.mark.parametrize("name", sorted(PLACES))
def test_without_depth_every_fusion_gets_the_bare_picture_and_question(shown, name):
    pixels, _, _ = shown
    made = toy_inputs(FusionConfig.preset(name), pixels, None)
    assert set(made) == {"input_ids", "pixel_values"}
    assert made["pixel_values"] is pixels
    assert (made["input_ids"][:, :PATCHES] == IMAGE).all()
    assert made["input_ids"].shape == (3, PATCHES + 1)


@pytest.mark.parametrize("name", sorted(PLACES))
def test_depth_lengthens_the_sequence_by_one_token_a_patch_or_not_at_all(shown, name):
    pixels, _, grid = shown
    ids = toy_inputs(FusionConfig.preset(name), pixels, grid)["input_ids"]
    apart = PLACES[name] in ("picture", "text")
    assert ids.shape == (3, (2 if apart else 1) * PATCHES + 1)
    assert int((ids == IMAGE).sum()) == 3 * PATCHES * (2 if PLACES[name] == "picture" else 1)


def test_depth_words_grow_with_depth_and_lie_within_six_percent(shown):
    pixels, z, grid = shown
    words = toy_inputs(FusionConfig.preset("depth_prompt"), pixels, grid)["input_ids"][:, PATCHES:-1]
    said = 0.1 * (1000 ** (1 / 119)) ** (words.double() - 8)
    assert ((said / z - 1).abs() < 0.031).all()
    assert words.max() < VOCABULARY


def test_an_unknown_depth_has_a_word_of_its_own(shown):
    pixels, _, grid = shown
    grid = grid.clone()
    grid[5, 0] = math.nan
    words = toy_inputs(FusionConfig.preset("depth_prompt"), pixels, grid)["input_ids"][:, PATCHES:-1].flatten()
    assert (words == UNKNOWN).nonzero().flatten().tolist() == [5]


def test_a_drawn_map_follows_its_picture_and_holds_its_depths(shown):
    pixels, z, grid = shown
    config = FusionConfig("depth_image", renderer="pack24")
    both = toy_inputs(config, pixels, grid)["pixel_values"]
    assert torch.equal(both[0::2], pixels)
    for drawn, depths in zip(both[1::2], z, strict=True):
        picture = ((drawn + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        seen = unpack24(picture).values[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].flatten()
        np.testing.assert_allclose(seen, depths.numpy(), atol=0.00051)


def test_planes_show_each_patch_at_its_own_depth(shown):
    pixels, z, grid = shown
    config = FusionConfig.preset("concat")
    planes = toy_inputs(config, pixels, grid)["depth_pixels"]
    low, high = config.depth_channels.span
    wanted = low + (high - low) * np.log(z.numpy() / 0.1) / np.log(1000)
    seen = planes[:, 0, PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].flatten(1).numpy()
    np.testing.assert_allclose(seen, wanted, atol=1e-4)
