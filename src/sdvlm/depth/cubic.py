"""Pictures to depth network inputs as Depth Anything V2's own code makes them: OpenCV's cubic, not Pillow's.

OpenCV's cubic kernel has a fixed width whatever the scale, so it is torch's bicubic without antialiasing; Pillow's and
torch's antialiased ones give other inputs wherever a picture shrinks, and so other depth. A checkpoint asks for it by
``"antialias": false`` in its ``preprocessor_config.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdvlm.depth.atomic import atomic_file
from sdvlm.types import SdvlmError

__all__ = ["CubicProcessor", "lower_bound_size"]

Size = tuple[int, int]


def lower_bound_size(size: Size, least: Size, multiple: int = 14, keep_aspect: bool = True) -> Size:
    """(width, height) of the input for a picture: at least ``least``, sides multiples of ``multiple``.

    Depth Anything's ``Resize(resize_method="lower_bound")``: the larger of the two scales for both sides, each side to
    the nearest multiple (halves to even), and up where that falls below its bound.

    Args:
        size: (width, height) of the picture.
        least: (width, height) that no side goes below.
        multiple: of the patch size.
        keep_aspect: one scale for both sides; else each has its own.
    """
    scales = [bound / side for bound, side in zip(least, size, strict=True)]
    if keep_aspect:
        scales = [max(scales)] * 2
    sides = []
    for scale, side, bound in zip(scales, size, least, strict=True):
        near = round(scale * side / multiple) * multiple
        sides.append(near if near >= bound else math.ceil(scale * side / multiple) * multiple)
    return sides[0], sides[1]


@dataclass(frozen=True)
class CubicProcessor:
    """Scale to 0..1, resize, normalise; in that order.

    Args:
        least: (width, height) lower bound of the input, see :func:`lower_bound_size`.
        multiple, keep_aspect: likewise.
        mean, std: per channel.
        rescale_factor: of the uint8 values.
    """

    least: Size
    multiple: int
    keep_aspect: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale_factor: float = 1 / 255

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], source: str) -> CubicProcessor:
        """From the fields of a ``DPTImageProcessor``.

        Raises:
            SdvlmError: it is another processor, or lacks a field; ``source`` names the checkpoint.
        """
        if not str(config.get("image_processor_type", "")).startswith("DPTImageProcessor") or config.get("do_pad"):
            raise SdvlmError(f'{source}: "antialias": false is for a DPTImageProcessor without padding')
        try:
            return cls(
                least=(int(config["size"]["width"]), int(config["size"]["height"])),
                multiple=int(config["ensure_multiple_of"]),
                keep_aspect=bool(config["keep_aspect_ratio"]),
                mean=tuple(map(float, config["image_mean"])),
                std=tuple(map(float, config["image_std"])),
                rescale_factor=float(config["rescale_factor"]),
            )
        except KeyError as error:
            raise SdvlmError(f"{source}: preprocessor_config.json lacks {error}, which cubic resizing needs") from error

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write the ``preprocessor_config.json`` that :meth:`from_dict` reads; stock processors read it too."""
        values = {
            "image_processor_type": "DPTImageProcessor",
            "do_resize": True,
            "size": {"height": self.least[1], "width": self.least[0]},
            "keep_aspect_ratio": self.keep_aspect,
            "ensure_multiple_of": self.multiple,
            "resample": 3,
            "antialias": False,
            "do_rescale": True,
            "rescale_factor": self.rescale_factor,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "do_pad": False,
        }
        with atomic_file(Path(folder) / "preprocessor_config.json") as stream:
            stream.write(json.dumps(values, indent=2).encode())

    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 sRGB to (3, h, w) float32, computed in float64 as the released code does."""
        width, height = lower_bound_size((image.shape[1], image.shape[0]), self.least, self.multiple, self.keep_aspect)
        pixels = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None] * self.rescale_factor
        resized = nn.functional.interpolate(
            pixels, (height, width), mode="bicubic", align_corners=False, antialias=False
        )[0]
        mean, std = (torch.tensor(one, dtype=torch.float64).view(3, 1, 1) for one in (self.mean, self.std))
        return ((resized - mean) / std).float()
