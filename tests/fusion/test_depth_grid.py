"""The grid of a batch: packing, unpacking, joining pictures."""

import numpy as np
import pytest
import torch

from sdvlm.fusion.depth_grid import CHANNELS, DepthGrid
from sdvlm.fusion.pool import pool_depth
from sdvlm.types import Camera, DepthMap, SdvlmError


def _grid(kind="metric", tokens=3):
    depth = DepthMap(np.arange(1.0, 13.0).reshape(3, 4), kind)
    boxes = np.array([[0.0, 0.0, 1.0 + i, 2.0] for i in range(tokens - 1)] + [[np.nan] * 4])
    return pool_depth(depth, boxes, (4, 3), Camera.from_fov(4, 3, 60))


def test_a_packed_grid_unpacks_to_itself_with_unknowns_in_place():
    grid = _grid()
    again = DepthGrid.unpack(grid.pack(), grid.image_index)
    for name in (*CHANNELS, "image_index"):
        torch.testing.assert_close(getattr(again, name), getattr(grid, name), rtol=0, atol=0, equal_nan=True)


def test_joined_grids_keep_their_tokens_in_order_and_count_the_pictures():
    first, second = _grid("metric", 3), _grid("disparity", 2)
    joined = DepthGrid.concatenate([first, second])
    assert joined.image_index.tolist() == [0, 0, 0, 1, 1]
    assert joined.kind.tolist() == [1, 1, 1, 3, 3]
    torch.testing.assert_close(joined.z, torch.cat([first.z, second.z]), equal_nan=True)


def test_a_grid_with_other_channels_or_other_tokens_than_the_model_is_refused():
    packed = _grid().pack()
    with pytest.raises(SdvlmError, match=r"a packed depth grid is \(tokens, 12\); got \(3, 11\)"):
        DepthGrid.unpack(packed[:, 1:], torch.zeros(3, dtype=torch.long))
    with pytest.raises(SdvlmError, match="depth covers 3 image tokens but the model has 5"):
        DepthGrid.unpack(packed, torch.zeros(5, dtype=torch.long))
