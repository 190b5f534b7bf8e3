"""The size a frame is seen at, against what the video processors themselves make of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from tests.models.filmed import frames, needs_torchvision

from sdvlm.models.families.video import VIDEO

SIZES = [(100, 75), (57, 90), (210, 33)]
BUDGETS = [(256, 4096), (40_000, 60_000), (16_000, 10**7)]
PACKED = [
    ("qwen2_vl", "Qwen2VLVideoProcessor", {"cap_pixels_per_frame": False}),
    ("qwen2_vl", "Qwen2VLVideoProcessor", {"cap_pixels_per_frame": True, "max_video_tokens": 60}),
    ("qwen3_vl", "Qwen3VLVideoProcessor", {"cap_pixels_per_frame": False}),
    ("qwen3_vl", "Qwen3VLVideoProcessor", {"cap_pixels_per_frame": True, "max_video_tokens": 6}),
    ("glm4v", "Glm4vVideoProcessor", {}),
]


def made(processor: Any, size: tuple[int, int], count: int) -> Any:
    return processor(videos=[frames(count, size)], do_sample_frames=False, return_tensors="pt")


@needs_torchvision
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(("family", "name", "settings"), PACKED)
def test_frames_within_a_budget_of_pixels(family: str, name: str, settings: dict[str, Any], budget: Any) -> None:
    size = {"shortest_edge": budget[0], "longest_edge": budget[1]}
    patches = {"patch_size": 8, "merge_size": 2}
    if settings and not hasattr(getattr(transformers, name), "cap_pixels_per_frame"):
        pytest.skip("this version of transformers has no cap on the pixels of a frame")
    processor = getattr(transformers, name)(size=size, **patches, **settings)
    seen = set()
    for frame in SIZES:
        for count in (2, 5, 16):
            _, rows, columns = made(processor, frame, count)["video_grid_thw"][0].tolist()
            assert VIDEO[family].frame(processor, frame, count).target_size == (8 * columns, 8 * rows)
            seen.add((rows, columns))
    assert len(seen) > 2


@needs_torchvision
def test_frames_within_a_budget_of_tokens() -> None:
    processor = transformers.Gemma4VideoProcessor(patch_size=8, max_soft_tokens=70, pooling_kernel_size=2)
    for frame in SIZES:
        places = made(processor, frame, 3)["video_position_ids"]
        width, height = (8 * (places.amax(dim=(0, 1)) + 1)).tolist()
        assert VIDEO["gemma4"].frame(processor, frame, 3).target_size == (width, height)


@needs_torchvision
@pytest.mark.parametrize(
    ("family", "name", "settings"),
    [
        ("llava_onevision", "LlavaOnevisionVideoProcessor", {}),
        ("internvl", "InternVLVideoProcessor", {"size": {"height": 56, "width": 56}}),
        ("perception_lm", "PerceptionLMVideoProcessor", {}),
        ("smolvlm", "SmolVLMVideoProcessor", {}),
    ],
)
def test_frames_of_one_square(family: str, name: str, settings: dict[str, Any]) -> None:
    processor = getattr(transformers, name)(**settings)
    for frame in SIZES:
        out = made(processor, frame, 3)
        pixels = out["pixel_values_videos" if "pixel_values_videos" in out else "pixel_values"]
        assert isinstance(pixels, torch.Tensor)
        assert VIDEO[family].frame(processor, frame, 3).target_size == (pixels.shape[-1], pixels.shape[-2])
