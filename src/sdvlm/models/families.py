"""All that sdvlm knows of particular model families. Nothing outside this file and ``grid`` names one.

A family states four facts: how its image processor maps a picture to the pixels the tower sees, which rectangles of
those pixels the tower cuts into cells and in which order, which module puts the cells out, and which module merges
them. What happens to the cells in between (window order, merges, reordering) is probed (``grid``), not tabulated.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin, Qwen2_5_VLProcessor
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.geometry.replay import replay_crop, replay_smart_resize
from sdvlm.geometry.transform import ImageTransform
from sdvlm.types import SdvlmError

__all__ = ["FAMILIES", "Family", "family_of", "load_processor", "position_axes", "position_offset"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Family:
    """Where the image tokens of a family come from. Paths are relative to the model without its language head."""

    replay: Callable[[Any, Size], ImageTransform]
    """(image processor, (width, height) of a picture) to the transform from its pixels to those the tower sees"""
    cells: Callable[[PreTrainedConfig, Size], NDArray[np.float64]]
    """(model config, processed size) to (n, 4) boxes in processed pixels, in the order ``source`` puts cells out"""
    inputs: Callable[[PreTrainedConfig, Size], dict[str, torch.Tensor]]
    """(model config, processed size) to blank inputs of ``get_image_features`` for one picture of that size"""
    source: str
    """path of the module that puts the cells out; rows beyond the cells come first and look nowhere (class token)"""
    merge: str | None = None
    """path of the module that joins runs of neighbouring rows into one token"""
    merged: Callable[[PreTrainedConfig], int] = lambda config: 1
    """rows per run"""


def _cut(size: Size, cell: int) -> NDArray[np.float64]:
    """(rows, columns, 4) cell boxes of a ``size`` picture; a rest smaller than a cell is left over."""
    columns, rows = size[0] // cell, size[1] // cell
    top, left = np.mgrid[:rows, :columns] * float(cell)
    return np.stack([left, top, left + cell, top + cell], axis=-1)


def _llava_inputs(config: PreTrainedConfig, size: Size) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.zeros(1, 3, size[1], size[0])}


def _merge_order(config: PreTrainedConfig, size: Size) -> NDArray[np.float64]:
    """Patches as Qwen2-VL's processor flattens them: merge blocks row by row, inside a block row by row."""
    merge = config.vision_config.spatial_merge_size
    cells = _cut(size, config.vision_config.patch_size)
    rows, columns = cells.shape[0] // merge, cells.shape[1] // merge
    blocks = cells.reshape(rows, merge, columns, merge, 4).swapaxes(1, 2)
    return np.asarray(blocks.reshape(-1, 4))


def _qwen_inputs(config: PreTrainedConfig, size: Size) -> dict[str, torch.Tensor]:
    vision = config.vision_config
    columns, rows = size[0] // vision.patch_size, size[1] // vision.patch_size
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return {
        "pixel_values": torch.zeros(rows * columns, width),
        "image_grid_thw": torch.tensor([[1, rows, columns]]),
    }


_LLAVA = Family(
    replay=replay_crop,
    cells=lambda config, size: _cut(size, config.vision_config.patch_size).reshape(-1, 4),
    inputs=_llava_inputs,
    source="multi_modal_projector",
)
_QWEN = Family(
    replay=replay_smart_resize,
    cells=_merge_order,
    inputs=_qwen_inputs,
    source="visual.patch_embed",
    merge="visual.merger",
    merged=lambda config: int(config.vision_config.spatial_merge_size) ** 2,
)
FAMILIES: dict[str, Family] = {"llava": _LLAVA, "qwen2_5_vl": _QWEN}
"""by ``model_type`` of the config"""


def family_of(config: PreTrainedConfig) -> Family:
    """The facts about a model's family.

    Raises:
        SdvlmError: the family is not known yet.
    """
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise SdvlmError(
            f"where the image tokens of '{config.model_type}' look is not known (known: {known}); "
            "add the family to sdvlm/models/families.py"
        )
    return FAMILIES[config.model_type]


def position_axes(config: PreTrainedConfig) -> int:
    """Axes of the language model's rotary positions: 3 (time, height, width) for multimodal RoPE, else 1."""
    rope = getattr(config.get_text_config(), "rope_parameters", None) or {}
    return 3 if "mrope_section" in rope else 1


def position_offset(vlm: Any, inputs: Mapping[str, Any]) -> int:
    """How far the language model's positions after a single prompt are ahead of its token count.

    With three-axis positions a picture takes fewer steps than it has tokens, so this is negative there, else 0.
    """
    if position_axes(vlm.config) == 1:
        return 0
    place = vlm.base_model.get_rope_index
    _, ahead = place(**{name: inputs[name] for name in inspect.signature(place).parameters if name in inputs})
    return int(ahead.flatten()[0])


class ImageOnlyQwenProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor where torchvision is missing: its video half cannot be built then (transformers 5.23)."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = super().to_dict()
        return {**values, "processor_class": Qwen2_5_VLProcessor.__name__}


_WITHOUT_VIDEO = {Qwen2_5_VLProcessor.__name__: ImageOnlyQwenProcessor}


def load_processor(folder_or_id: str | PathLike[str]) -> ProcessorMixin:
    """A model's processor from a folder or hub id; without its video half where torchvision is missing.

    Raises:
        SdvlmError: there is no processor; says where it looked.
    """
    try:
        if not is_torchvision_available():
            stored, _ = ProcessorMixin.get_processor_dict(folder_or_id)
            if stored.get("processor_class") in _WITHOUT_VIDEO:
                return _WITHOUT_VIDEO[stored["processor_class"]].from_pretrained(folder_or_id)
        processor = AutoProcessor.from_pretrained(folder_or_id)
    except (OSError, ValueError) as error:
        raise SdvlmError(
            f"no processor (tokenizer, image processor) at '{folder_or_id}': {_first_line(error)}"
        ) from error
    if not isinstance(processor, ProcessorMixin):
        raise SdvlmError(f"'{folder_or_id}' holds only a {type(processor).__name__}; a processor with images is wanted")
    return processor


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
