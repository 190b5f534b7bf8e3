"""Random patch masks, and input hidden by them in both layouts."""

from types import SimpleNamespace

import pytest
import torch

from sdvlm.fusion.pixel_layout import lay_out
from sdvlm.pretrain.masks import hide_patches, random_masks
from sdvlm.types import SdvlmError

PACKED = SimpleNamespace(patch_size=4, spatial_merge_size=2, temporal_patch_size=2)


def test_masks_hide_the_share_asked_for_and_follow_the_seed():
    masks = random_masks([(4, 4), (4, 5)] * 50, 0.75, torch.Generator().manual_seed(0))
    assert [int(mask.sum()) for mask in masks] == [12, 15] * 50
    again = random_masks([(4, 4), (4, 5)] * 50, 0.75, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(masks, again, strict=True))
    often = torch.stack(masks[::2]).float().mean(0)
    assert 0.5 < float(often.min()) < float(often.max()) < 0.95  # every place is hidden now and then


def test_blocks_are_hidden_whole_also_where_the_grid_is_no_multiple():
    (mask,) = random_masks([(5, 7)], 0.5, torch.Generator().manual_seed(1), block=2)
    cells = mask.reshape(5, 7)
    hidden = 0
    for i in range(0, 5, 2):
        for j in range(0, 7, 2):
            block = cells[i : i + 2, j : j + 2]
            assert bool(block.all()) or not bool(block.any())
            hidden += bool(block.all())
    assert hidden == 6


def test_one_patch_always_stays_visible():
    assert int(random_masks([(1, 2)], 0.99)[0].sum()) == 1
    assert int(random_masks([(1, 1)], 0.75)[0].sum()) == 0


@pytest.mark.parametrize("config", [SimpleNamespace(patch_size=4), PACKED])
def test_hidden_input_is_the_layout_of_planes_unknown_at_the_hidden_patches(config):
    torch.manual_seed(2)
    sizes = [(4, 6), (4, 6)] if config is not PACKED else [(4, 6), (8, 2), (2, 2)]
    planes = [torch.randn(2, rows * 4, columns * 4) for rows, columns in sizes]
    masks = random_masks(sizes, 0.6)
    inputs = lay_out(planes, config)
    before = inputs["pixel_values"].clone()
    got = hide_patches(inputs, masks, sizes, merge=2)
    for plane, mask, (_, columns) in zip(planes, masks, sizes, strict=True):
        for number in mask.nonzero()[:, 0].tolist():
            row, column = divmod(number, columns)
            plane[:, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = 0
    assert torch.equal(got["pixel_values"], lay_out(planes, config)["pixel_values"])
    assert torch.equal(inputs["pixel_values"], before)


@pytest.mark.parametrize(
    ("shape", "grids", "sizes"),
    [
        ((1, 2, 8, 8), [(2, 2)], [5]),
        ((1, 2, 8, 8), [(2, 3)], [6]),
        ((2, 2, 8, 8), [(2, 2)], [4]),
        ((2, 2, 8, 8), [(2, 2), (1, 4)], [4, 4]),
    ],
)
def test_masks_that_do_not_fit_are_refused(shape, grids, sizes):
    masks = [torch.zeros(size, dtype=torch.bool) for size in sizes]
    with pytest.raises(SdvlmError, match="do not fit"):
        hide_patches({"pixel_values": torch.zeros(shape)}, masks, grids)
    packed = {"pixel_values": torch.zeros(4, 8), "image_grid_thw": torch.tensor([[1, 4, 1]])}
    with pytest.raises(SdvlmError, match="do not fit"):
        hide_patches(packed, [torch.zeros(4, dtype=torch.bool)], [(2, 2)])


def test_a_ratio_of_one_is_refused():
    with pytest.raises(SdvlmError, match="below 1"):
        random_masks([(2, 2)], 1.0)
