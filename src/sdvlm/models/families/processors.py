"""A model's processor, also where torchvision is missing and a family's video half cannot be built."""

from __future__ import annotations

from os import PathLike
from typing import Any

from transformers import AutoProcessor, ProcessorMixin, Qwen2_5_VLProcessor
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.types import SdvlmError

__all__ = ["ImageOnlyQwenProcessor", "load_processor"]


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
