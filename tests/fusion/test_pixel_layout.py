"""Layouts of planes against those of the processors, and back to rows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import unfold
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from sdvlm.fusion.pixel_layout import is_packed, lay_out, to_raster
from sdvlm.types import SdvlmError

PACKED = SimpleNamespace(patch_size=8, spatial_merge_size=2, temporal_patch_size=2)
BATCHED = SimpleNamespace(patch_size=14, image_size=56)


def pictures(sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in sizes]


def normalised(processor, picture):
    """(3, H, W) as every CLIP-like processor normalises, without resizing."""
    mean, std = np.asarray(processor.image_mean), np.asarray(processor.image_std)
    return torch.from_numpy(((picture / 255 - mean) / std).transpose(2, 0, 1)).float()


def test_packed_pictures_lie_as_the_processor_lays_them():
    processor = Qwen2VLImageProcessorPil(do_resize=False, patch_size=8, merge_size=2, temporal_patch_size=2)
    images = pictures([(48, 32), (16, 64)])
    made = processor(images, return_tensors="pt")
    laid = lay_out([normalised(processor, one) for one in images], PACKED)
    torch.testing.assert_close(laid["pixel_values"], made["pixel_values"].float(), atol=1e-5, rtol=0)
    assert torch.equal(laid["image_grid_thw"], made["image_grid_thw"])


def test_batched_pictures_lie_as_the_processor_lays_them():
    processor = CLIPImageProcessorPil(do_resize=False, do_center_crop=False)
    images = pictures([(56, 56), (56, 56)])
    made = processor(images, return_tensors="pt")
    laid = lay_out([normalised(processor, one) for one in images], BATCHED)
    assert set(laid) == set(made)
    torch.testing.assert_close(laid["pixel_values"], made["pixel_values"].float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_rows_of_packed_patches_come_back_row_by_row(channels):
    planes = [torch.randn(channels, 32, 48), torch.randn(channels, 64, 16)]
    laid = lay_out(planes, PACKED)
    rows = to_raster(laid["pixel_values"], laid["image_grid_thw"], 2).view(-1, channels, 2, 64)
    assert torch.equal(rows[:, :, 0], rows[:, :, 1])  # a still picture: both frames of a patch are alike
    by_hand = [unfold(one[None], 8, stride=8)[0].T.reshape(-1, channels, 64) for one in planes]
    assert torch.equal(rows[:, :, 0], torch.cat(by_hand))


def test_a_tower_is_known_by_what_its_config_states():
    assert is_packed(PACKED)
    assert not is_packed(BATCHED)


@pytest.mark.parametrize(
    ("planes", "config", "message"),
    [
        ([], BATCHED, "equally many"),
        ([torch.zeros(2, 56, 56), torch.zeros(1, 56, 56)], BATCHED, "equally many"),
        ([torch.zeros(56, 56)], BATCHED, "equally many"),
        ([torch.zeros(2, 56, 56), torch.zeros(2, 56, 70)], BATCHED, "one size, got 56x56, 70x56"),
        ([torch.zeros(2, 24, 32)], PACKED, "multiples of 16 pixels, got 32x24"),
    ],
)
def test_planes_that_do_not_fit_are_refused(planes, config, message):
    with pytest.raises(SdvlmError, match=message):
        lay_out(planes, config)
