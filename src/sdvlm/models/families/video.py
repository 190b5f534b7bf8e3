"""What families see of a video. Only what differs from their pictures is stated; where tokens look is probed.

Cells, ``source`` and ``merge`` are those of the family's pictures (``families.family``): a video is a film strip of
views that the tower cuts into the same cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as resize_clip
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as resize_frame

from sdvlm.geometry import transform
from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families.family import Size
from sdvlm.types import SdvlmError

__all__ = ["VIDEO", "VideoFamily", "video_family_of"]


@dataclass(frozen=True)
class VideoFamily:
    """How a family takes videos."""

    frame: Callable[[Any, Size, int], ImageTransform]
    """(video processor, (width, height) of its frames, their number) to what the tower sees of each frame"""
    inputs: Callable[[PreTrainedConfig, Size, int], dict[str, torch.Tensor]]
    """(model config, size of a view, number of views) to blank inputs of the feature function for one video"""
    joined: Callable[[Any], int] = lambda video_processor: 1
    """frames a cell looks at; the last frame is repeated to fill them up"""
    as_pictures: bool = False
    """whether frames enter among the pictures, as more of ``pixel_values``, and not as ``pixel_values_videos``"""
    token: str = "video_token_id"
    """name, in the model's config, of the token that video tokens take the place of"""
    apart: str = ""
    """why no picture may come in the same call; empty: it may"""
    even: bool = False
    """whether all videos of a call need the same number of frames"""


def video_family_of(config: PreTrainedConfig) -> VideoFamily:
    """The facts about videos of a model's family.

    Raises:
        SdvlmError: the family takes no video, or not through this library.
    """
    if config.model_type not in VIDEO:
        raise SdvlmError(
            f"'{config.model_type}' takes no video (these do: {', '.join(sorted(VIDEO))}); give its frames as pictures"
        )
    return VIDEO[config.model_type]


def _resized(size: Size, resize: Callable[[], tuple[int, int]]) -> ImageTransform:
    try:
        height, width = resize()
    except ValueError as error:
        raise SdvlmError(f"the video of {size[0]}x{size[1]} pixels does not fit this model: {error}") from error
    return transform.resize(size, (int(width), int(height)))


def _qwen2_frame(processor: Any, size: Size, frames: int) -> ImageTransform:
    """Each frame within a budget of pixels of its own (Qwen2-VL and 2.5)."""
    if not processor.do_resize:
        return ImageTransform(size, size)
    factor, low, high = processor.patch_size * processor.merge_size, *_budget(processor)
    if getattr(processor, "cap_pixels_per_frame", None):
        share = int(processor.max_video_tokens * factor**2 * 0.9) * processor.temporal_patch_size // frames
        high = max(min(high, share), int(low * 1.05))
    return _resized(size, lambda: resize_frame(size[1], size[0], factor, low, high))


def _qwen3_frame(processor: Any, size: Size, frames: int) -> ImageTransform:
    """All frames within one budget of pixels (Qwen3-VL, Qwen3.5, GLM-4V)."""
    if not processor.do_resize:
        return ImageTransform(size, size)
    factor, low, high = processor.patch_size * processor.merge_size, *_budget(processor)
    if getattr(processor, "cap_pixels_per_frame", None):
        share = min(processor.max_video_tokens * factor**2, high // frames)
        high = max(share, int(low * 1.05)) * frames
    return _resized(
        size, lambda: resize_clip(frames, size[1], size[0], processor.temporal_patch_size, factor, low, high)
    )


def _budget(processor: Any) -> tuple[int, int]:
    """Fewest and most pixels."""
    return int(processor.size["shortest_edge"]), int(processor.size["longest_edge"])


def _packed(config: PreTrainedConfig, size: Size, views: int) -> dict[str, torch.Tensor]:
    vision = config.vision_config
    columns, rows = size[0] // vision.patch_size, size[1] // vision.patch_size
    length = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return {
        "pixel_values_videos": torch.zeros(views * rows * columns, length),
        "video_grid_thw": torch.tensor([[views, rows, columns]]),
    }


def _stretched(processor: Any, size: Size, frames: int) -> ImageTransform:
    """Each frame to one size."""
    if getattr(processor, "do_center_crop", None) or not processor.do_resize:
        raise SdvlmError(f"cannot replay what {type(processor).__name__} does: set do_resize and no do_center_crop")
    return transform.resize(size, (int(processor.size["width"]), int(processor.size["height"])))


def _squared(processor: Any, size: Size, frames: int) -> ImageTransform:
    """Each frame to the square of a tile (SmolVLM)."""
    side = int(processor.max_image_size["longest_edge"])
    return transform.resize(size, (side, side))


def _within_tokens(processor: Any, size: Size, frames: int) -> ImageTransform:
    """Each frame as large as a budget of tokens allows (Gemma 4)."""
    if not processor.do_resize:
        return ImageTransform(size, size)
    kernel, patch = processor.pooling_kernel_size, processor.patch_size
    most = processor.max_soft_tokens * kernel**2
    return _resized(size, lambda: get_aspect_ratio_preserving_size(size[1], size[0], patch, most, kernel))


def _frames(name: str, *stacked: int) -> Callable[[PreTrainedConfig, Size, int], dict[str, torch.Tensor]]:
    """(frames, 3, height, width) under ``name``, with further axes of one at the places ``stacked``."""

    def inputs(config: PreTrainedConfig, size: Size, views: int) -> dict[str, torch.Tensor]:
        blank = torch.ones(views, 3, size[1], size[0])
        for place in stacked:
            blank = blank.unsqueeze(place)
        return {name: blank}

    return inputs


def _frames_with_places(config: PreTrainedConfig, size: Size, views: int) -> dict[str, torch.Tensor]:
    patch = config.vision_config.patch_size
    y, x = torch.meshgrid(torch.arange(size[1] // patch), torch.arange(size[0] // patch), indexing="ij")
    places = torch.stack([x, y], dim=-1).reshape(1, -1, 2).expand(views, -1, -1)
    return {
        "pixel_values_videos": torch.zeros(views, places.shape[1], 3 * patch**2),
        "video_position_ids": places,
        "num_frames_per_video": torch.tensor([views]),
    }


_QWEN2 = VideoFamily(frame=_qwen2_frame, inputs=_packed, joined=lambda processor: int(processor.temporal_patch_size))
_QWEN3 = replace(_QWEN2, frame=_qwen3_frame)
VIDEO: dict[str, VideoFamily] = {
    "qwen2_vl": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen3_vl": _QWEN3,
    "qwen3_vl_moe": _QWEN3,
    "qwen3_5": _QWEN3,
    "glm4v": replace(_QWEN3, token="image_token_id", apart="it marks pictures and frames by the same token"),
    "llava_onevision": VideoFamily(frame=_stretched, inputs=_frames("pixel_values_videos", 0), even=True),
    "internvl": VideoFamily(
        frame=_stretched,
        inputs=_frames("pixel_values"),
        as_pictures=True,
        token="image_token_id",
        even=True,
    ),
    "smolvlm": VideoFamily(
        frame=_squared,
        inputs=_frames("pixel_values", 0),
        as_pictures=True,
        token="image_token_id",
        apart="its processor would leave the pictures out",
    ),
    "gemma4": VideoFamily(frame=_within_tokens, inputs=_frames_with_places),
    "perception_lm": VideoFamily(frame=_stretched, inputs=_frames("pixel_values", 1)),
}
"""by ``model_type``"""
