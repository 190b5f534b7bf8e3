"""An evaluation finds what was put into the features: identity is found, metres are read, their loss shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.fusion.rgb_tower import load_rgb_tower
from sdvlm.pairs.columns import depth_of
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pretrain.evaluate import Evaluation, Features, depth_targets, spread
from sdvlm.pretrain.pictures import Preparation, Samples, chunk_of


@pytest.fixture(scope="module")
def samples(pairs_folder, rgb_folder):
    """Train and test samples, prepared for the tiny tower."""
    rgb = load_rgb_tower(rgb_folder)
    encoder = DepthEncoder.from_rgb(rgb.tower, None, rgb.image_processor)
    preparation = Preparation(encoder.channels, encoder.image_processor, rgb.tower.config)
    made = []
    for split in ("train", "test"):
        pairs = PairDataset(pairs_folder, split)
        made.append(Samples(pairs, range(len(pairs)), pairs.scene_ids(), preparation))
    return made


def features_of(chunk, per_patch, per_picture):
    return Features([torch.as_tensor(one) for one in per_patch], torch.as_tensor(per_picture))


def evaluated(samples, encode, embed_rgb):
    return Evaluation(*samples, encode, embed_rgb, eval_pairs=100, probe_pairs=40, chunk=8, seed=0)()


def numbered(chunk):
    """A place of its own for each pair."""
    generator = [torch.Generator().manual_seed(index) for index in chunk.indices]
    return torch.stack([torch.randn(16, generator=one) for one in generator])


def tells_metres(chunk):
    """Patch features of which one is the log depth, among others."""
    each = []
    for metres, grid in zip(chunk.metres, chunk.grids, strict=True):
        level = depth_targets(metres, grid).nan_to_num(0.0)
        each.append(torch.stack([level, torch.randn(len(level)), torch.ones(len(level))], dim=1))
    return each


def test_features_that_tell_who_and_how_far_get_full_marks(samples):
    torch.manual_seed(0)

    def encode(chunk):
        level = torch.stack([one.log().nanmean() for one in chunk.metres])
        return Features(tells_metres(chunk), torch.cat([numbered(chunk), level[:, None] * 1e-3], dim=1))

    def embed_rgb(chunk):
        return torch.cat([numbered(chunk), torch.zeros(len(chunk), 1)], dim=1)

    figures = evaluated(samples, encode, embed_rgb)
    for name in ("depth_to_rgb_r1", "rgb_to_depth_r1", "depth_to_rgb_r5"):
        assert figures[name] == 1.0
    for name in ("trunk_r2", "trunk_scale_r2", "embedding_r2", "embedding_scale_r2"):
        assert figures[name] > 0.98, name


def test_features_without_scale_are_found_out_though_retrieval_is_perfect(samples):
    torch.manual_seed(0)

    def encode(chunk):
        each = [one - one.mean(dim=0) for one in tells_metres(chunk)]  # order within a picture is all that is left
        return Features(each, numbered(chunk))

    figures = evaluated(samples, encode, numbered)
    assert figures["depth_to_rgb_r1"] == 1.0
    assert figures["trunk_scale_r2"] < 0.5
    assert figures["embedding_scale_r2"] < 0.2


def test_a_constant_encoder_retrieves_nothing_and_has_no_rank(samples):
    def encode(chunk):
        return Features([torch.ones(16, 4) for _ in chunk.grids], torch.ones(len(chunk), 4))

    figures = evaluated(samples, encode, numbered_four)
    assert figures["depth_to_rgb_r1"] <= 2 * figures["retrieval_chance"]
    assert figures["effective_rank_trunk"] < 1.5
    assert figures["trunk_r2"] < 0.05


def numbered_four(chunk):
    return numbered(chunk)[:, :4]


def test_pairs_are_spread_over_scenes():
    scenes = [f"room{number // 10}" for number in range(100)]
    chosen = spread(scenes, 20, seed=0)
    assert len(set(chosen)) == 20
    assert all(sum(scenes[one] == scene for one in chosen) == 2 for scene in set(scenes))
    assert sorted(spread(scenes, 500, seed=0)) == list(range(100))


def test_targets_are_the_mean_log_metres_of_each_patch():
    metres = torch.rand(8, 12) * 4 + 1
    metres[0, 0] = torch.nan
    metres[4:, 8:] = torch.nan
    said = depth_targets(metres, (2, 3))
    for number, (row, column) in enumerate(np.ndindex(2, 3)):
        expected = metres[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].log().nanmean()
        assert (said[number].isnan() and expected.isnan()) or said[number] == pytest.approx(float(expected), rel=1e-5)


def test_depth_follows_the_picture_into_the_tower(samples):
    train, _ = samples
    prepared = train[3, 0]
    depth = depth_of(train.pairs.row(3))
    assert prepared.depth["pixel_values"].shape == (1, 2, 32, 32)
    assert prepared.grid == (4, 4)
    columns = ((np.arange(32) + 0.5) / 32 * 40).astype(int)  # 40 x 32 stretched to 32 x 32, nearest neighbour
    np.testing.assert_allclose(prepared.metres.numpy(), depth.values[:, columns], rtol=1e-6)
    valid = prepared.depth["pixel_values"][0, 1] > 0.5
    assert torch.equal(valid, prepared.metres.isfinite())


def test_scaled_depth_is_scaled_and_the_first_pictures_of_a_chunk_are_those_alone(samples):
    train, _ = samples
    scaled = replace(train, scales=[2.0] * len(train))
    whole = chunk_of([scaled[number, 0] for number in range(5)])
    torch.testing.assert_close(whole.metres[2], 2 * train[2, 0].metres, equal_nan=True)
    part, alone = whole.first(2), chunk_of([scaled[number, 0] for number in range(2)])
    assert part.indices == alone.indices
    assert torch.equal(part.depth["pixel_values"], alone.depth["pixel_values"])
    assert torch.equal(part.scenes, alone.scenes)
