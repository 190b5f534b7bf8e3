"""What an image processor does to a picture's frame, as data: the transform its depth, mask and camera must follow.

Read off the settings of Hugging Face image processors: pad to square, resize, centre crop (CLIP, SigLIP, DINOv2, ViT,
LLaVA), or a resize to whole patches within a budget of pixels (Qwen2-VL and its successors).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from sdvlm.geometry import transform
from sdvlm.geometry.transform import ImageTransform
from sdvlm.types import SdvlmError

__all__ = ["replay", "replay_crop", "replay_smart_resize"]

Size = tuple[int, int]


def replay(processor: Any, size: Size) -> ImageTransform:
    """The transform from a picture's pixels to those the tower sees.

    Args:
        processor: a Hugging Face image processor.
        size: (width, height) of the picture.

    Raises:
        SdvlmError: the processor does something else (pads otherwise, resizes to a longest edge), or the picture does
            not fit it.
    """
    if hasattr(processor, "merge_size") and hasattr(processor, "patch_size"):
        return replay_smart_resize(processor, size)
    return replay_crop(processor, size)


def replay_crop(processor: Any, size: Size) -> ImageTransform:
    """Pad to square (LLaVA's own processor), resize, centre crop (plain CLIP): whichever of them the processor does."""
    steps = ImageTransform(size, size)
    if getattr(processor, "do_pad", False):
        if not hasattr(processor, "pad_to_square"):
            raise SdvlmError(f"cannot replay the padding of {type(processor).__name__}; set do_pad=False on it")
        side = max(size)
        left, top = (side - size[0]) // 2, (side - size[1]) // 2
        steps = steps.then(transform.pad(size, left, top, side - size[0] - left, side - size[1] - top))
    if processor.do_resize:
        steps = steps.then(transform.resize(steps.target_size, _resized(steps.target_size, processor.size)))
    if getattr(processor, "do_center_crop", False):
        wanted = (processor.crop_size["width"], processor.crop_size["height"])
        steps = steps.then(_center_crop(processor, steps.target_size, wanted))
    return steps


def replay_smart_resize(processor: Any, size: Size) -> ImageTransform:
    """Qwen2-VL: each side to the nearest multiple of patch times merge, within a budget of pixels."""
    if not processor.do_resize:
        return ImageTransform(size, size)
    factor = processor.patch_size * processor.merge_size
    low, high = processor.size["shortest_edge"], processor.size["longest_edge"]
    try:
        height, width = smart_resize(size[1], size[0], factor, low, high)
    except ValueError as error:
        raise SdvlmError(f"the picture of {size[0]}x{size[1]} pixels does not fit this model: {error}") from error
    return transform.resize(size, (width, height))


def _center_crop(processor: Any, source: Size, wanted: Size) -> ImageTransform:
    """Of an odd rest left and top get less; where the picture is the smaller one, Pillow's processors pad them more."""
    if getattr(processor, "backend", "pil") == "torchvision":
        return transform.center_crop(source, wanted)
    left, top = ((have - want) // 2 for have, want in zip(source, wanted, strict=True))
    return transform.crop(source, (left, top, left + wanted[0], top + wanted[1]))


def _resized(source: Size, wanted: Mapping[str, int | None]) -> Size:
    """Size after a resize as image processors state it: exact, or by shortest edge (the long edge is cut to int)."""
    if wanted.get("height") and wanted.get("width"):
        return int(wanted["width"] or 0), int(wanted["height"] or 0)
    short = wanted.get("shortest_edge")
    if not short or wanted.get("longest_edge"):
        raise SdvlmError(f"cannot replay an image processor that resizes to {dict(wanted)}; add it to geometry/replay")
    long = int(short * max(source) / min(source))
    return (short, long) if source[0] <= source[1] else (long, short)
