"""Pictures to what a transformers depth model eats, remembering where the picture lies in it.

All families go through their own image processor's Pillow variant, so results do not depend on whether torchvision is
installed. Two families (Depth Pro, TIPSv2) ship a torchvision processor only; :class:`StretchProcessor` does what
theirs do, from the same ``preprocessor_config.json``. A config with ``"antialias": false`` gets
:class:`~sdvlm.depth.cubic.CubicProcessor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdvlm.depth.cubic import CubicProcessor
from sdvlm.types import SdvlmError

__all__ = ["Prepared", "StretchProcessor", "load_processor", "prepare", "resample"]

Box = tuple[float, float, float, float]
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_STRETCH_DEFAULTS: dict[str, dict[str, Any]] = {
    "depth_pro": {"size": {"height": 1536, "width": 1536}, "normalize_first": True},
    "tipsv2_dpt": {"size": {"height": 448, "width": 448}, "do_normalize": False},
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model input and where the picture is in it.

    Args:
        pixel_values: (3, h, w) float32.
        inside: left, top, right, bottom of the picture within the input, as fractions of its width and height; the
            rest is padding.
    """

    pixel_values: Tensor
    inside: Box = _WHOLE


@dataclass(frozen=True)
class StretchProcessor:
    """Stretch to a fixed size, scale to 0..1 and normalise.

    Args:
        size: (width, height) of the model input.
        mean, std: per channel, applied if ``do_normalize``.
        normalize_first: Depth Pro normalises before it resizes, and resizes without antialiasing; TIPSv2 the other
            way round on both counts.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    normalize_first: bool = False

    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 to (3, h, w) float32."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() * self.rescale_factor
        if self.do_normalize:
            pixels = (pixels - torch.tensor(self.mean).view(1, 3, 1, 1)) / torch.tensor(self.std).view(1, 3, 1, 1)
        width, height = self.size
        resized = nn.functional.interpolate(
            pixels, (height, width), mode="bilinear", align_corners=False, antialias=not self.normalize_first
        )
        return resized[0]


def load_processor(model_type: str, source: str, revision: str | None) -> Any:
    """A checkpoint's processor: the transformers one, or ours where theirs needs torchvision or has no such kernel."""
    from transformers.image_processing_base import ImageProcessingMixin

    found, _ = ImageProcessingMixin.get_image_processor_dict(source, revision=revision)
    if found.get("antialias") is False:
        return CubicProcessor.from_dict(found, source)
    if model_type not in _STRETCH_DEFAULTS:
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil", trust_remote_code=False)
    config = _STRETCH_DEFAULTS[model_type] | {key: value for key, value in found.items() if value is not None}
    return StretchProcessor(
        size=(int(config["size"]["width"]), int(config["size"]["height"])),
        mean=tuple(config.get("image_mean", (0.5, 0.5, 0.5))),
        std=tuple(config.get("image_std", (0.5, 0.5, 0.5))),
        rescale_factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
        do_normalize=bool(config.get("do_normalize", True)),
        normalize_first=bool(config.get("normalize_first", False)),
    )


def prepare(model_type: str, processor: Any, image: NDArray[np.uint8]) -> Prepared:
    """One (H, W, 3) uint8 picture to a model input.

    Raises:
        SdvlmError: the processor cannot handle a picture of this size.
    """
    height, width = image.shape[:2]
    try:
        if isinstance(processor, StretchProcessor | CubicProcessor):
            return Prepared(processor(image))
        divisor = getattr(processor, "size_divisor", None) if model_type != "glpn" else None
        pads_after = bool(divisor and getattr(processor, "do_pad", False))
        options = {"do_pad": False} if pads_after else {}
        batch = processor(images=image, return_tensors="pt", input_data_format="channels_last", **options)
        pixel_values: Tensor = batch["pixel_values"][0].float()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise SdvlmError(f"a {width}x{height} image cannot be prepared for {model_type}: {error}") from error
    if pads_after:
        return _pad_to_multiple(pixel_values, int(divisor or 1))
    if model_type == "zoedepth" and getattr(processor, "do_pad", False):
        # ZoeDepth reflects int(3 sqrt(side / 2)) pixels onto every side before it resizes.
        pad_x, pad_y = int(math.sqrt(width / 2) * 3), int(math.sqrt(height / 2) * 3)
        full_x, full_y = width + 2 * pad_x, height + 2 * pad_y
        return Prepared(pixel_values, (pad_x / full_x, pad_y / full_y, 1 - pad_x / full_x, 1 - pad_y / full_y))
    return Prepared(pixel_values)


def _pad_to_multiple(pixel_values: Tensor, divisor: int) -> Prepared:
    """Zeros around, as DPT's processor puts them; the odd pixel goes to the right and bottom."""
    height, width = pixel_values.shape[-2:]
    full_y, full_x = math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor
    top, left = (full_y - height) // 2, (full_x - width) // 2
    padded = nn.functional.pad(pixel_values, (left, full_x - width - left, top, full_y - height - top))
    return Prepared(padded, (left / full_x, top / full_y, (left + width) / full_x, (top + height) / full_y))


def resample(values: Tensor, inside: Box, size: tuple[int, int]) -> Tensor:
    """Bilinear samples of a model output at the pixel centres of the picture.

    Args:
        values: (h, w) float32 over the whole model input.
        inside: where the picture lies in it (fractions).
        size: (width, height) of the picture.

    Returns:
        (height, width) float32, never outside the range of ``values``: bilinear, where transformers' own
        post-processing is bicubic and overshoots at edges.
    """
    width, height = size
    left, top, right, bottom = inside
    x = left + (right - left) * (torch.arange(width, device=values.device) + 0.5) / width
    y = top + (bottom - top) * (torch.arange(height, device=values.device) + 0.5) / height
    grid = torch.stack(torch.meshgrid(2 * x - 1, 2 * y - 1, indexing="xy"), dim=-1)
    sampled = nn.functional.grid_sample(
        values[None, None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, 0]
