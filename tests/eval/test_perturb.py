"""What is done to depth: the picture stays, and the change is exactly the one named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.eval import perturb
from sdvlm.types import DepthKind, DepthMap, RgbdFrame, SdvlmError


def _frame(width=8, height=8, seed=0, kind="metric"):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return RgbdFrame(image, DepthMap(rng.uniform(1, 5, (height, width)), kind))


def test_shuffling_a_map_that_divides_moves_whole_blocks():
    frame = _frame(12, 8)
    shuffled = perturb.with_shuffled_depth(frame, np.random.default_rng(1))

    def blocks(depth):
        return depth.values.reshape(4, 2, 4, 3).transpose(0, 2, 1, 3).reshape(16, 6)

    before, after = blocks(frame.depth), blocks(shuffled.depth)
    assert sorted(map(tuple, before)) == sorted(map(tuple, after))
    assert (before != after).any()


@given(st.integers(4, 21), st.integers(4, 21), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_shuffling_a_map_of_any_size_takes_each_pixel_from_the_block_that_came_there(width, height, seed):
    frame = _frame(width, height)
    row = ((np.arange(height) + 0.5) * 4 / height).astype(int)
    column = ((np.arange(width) + 0.5) * 4 / width).astype(int)
    block = row[:, None] * 4 + column[None, :]
    labelled = RgbdFrame(frame.image, DepthMap(block, DepthKind.RELATIVE))
    shuffled = perturb.with_shuffled_depth(labelled, np.random.default_rng(seed)).depth.values
    came_from = [np.unique(shuffled[block == index]) for index in range(16)]
    assert all(len(values) == 1 for values in came_from)  # one source block for each place
    assert sorted(int(values[0]) for values in came_from) == list(range(16))  # and each block goes somewhere


def test_disparity_of_a_metric_map_orders_pixels_the_other_way_round():
    frame = _frame()
    turned = perturb.as_disparity(frame)
    assert turned.depth.kind is DepthKind.DISPARITY
    assert np.array_equal(np.argsort(turned.depth.values.ravel()), np.argsort(-frame.depth.values.ravel()))
    with pytest.raises(SdvlmError, match="made of metric depth, got relative"):
        perturb.as_disparity(_frame(kind="relative"))


def test_the_picture_and_its_size_survive_every_change():
    frame, rng = _frame(9, 5), np.random.default_rng(0)
    changed = [
        perturb.without_depth(frame),
        perturb.with_scaled_depth(frame, 2.0),
        perturb.with_constant_depth(frame, 3.0),
        perturb.with_noise_depth(frame, rng),
        perturb.with_shuffled_depth(frame, rng),
        perturb.as_disparity(frame),
    ]
    for other in changed:
        assert other.image is frame.image
    assert changed[0].depth is None
    np.testing.assert_allclose(changed[1].depth.values, 2 * frame.depth.values)
    assert (changed[2].depth.values == 3.0).all()
    assert changed[3].depth.valid.all()
    assert len(np.unique(changed[3].depth.values)) == 16


def test_a_map_smaller_than_its_blocks_cannot_be_shuffled():
    with pytest.raises(SdvlmError, match="cannot be cut into 4 x 4 blocks"):
        perturb.with_shuffled_depth(_frame(3, 8), np.random.default_rng(0))


def test_depth_that_is_not_there_cannot_be_changed():
    frame = RgbdFrame(np.zeros((4, 4, 3), np.uint8), name="photo")
    with pytest.raises(SdvlmError, match="photo: this control changes the depth map, and there is none"):
        perturb.with_scaled_depth(frame, 2.0)
