"""A model's processor, also where torchvision is missing and a family's video half cannot be built."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from os import PathLike
from types import SimpleNamespace
from typing import Any

from transformers import (
    AutoProcessor,
    Gemma3Processor,
    Gemma4Processor,
    Glm4vProcessor,
    InternVLProcessor,
    LlavaOnevisionProcessor,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
    SmolVLMProcessor,
)
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.types import SdvlmError

__all__ = ["ImageOnlyQwenProcessor", "image_only", "load_processor", "pictures_of_prompts"]


class _ImageOnly:
    """The half of a processor that needs no torchvision: its video half cannot be built then (transformers 5.23)."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        return {**values, "processor_class": type(self).__mro__[2].__name__}


class ImageOnlyQwenProcessor(_ImageOnly, Qwen2_5_VLProcessor):
    """Qwen2.5-VL's."""


class _ImageOnlyQwen2(_ImageOnly, Qwen2VLProcessor):
    """Qwen2-VL's."""


class _ImageOnlyQwen3(_ImageOnly, Qwen3VLProcessor):
    """Qwen3-VL's and Qwen3.5's."""


class _ImageOnlyGlm4v(_ImageOnly, Glm4vProcessor):
    """GLM-4V's."""


class _ImageOnlyOnevision(_ImageOnly, LlavaOnevisionProcessor):
    """LLaVA-OneVision's."""


class _ImageOnlyInternVL(_ImageOnly, InternVLProcessor):
    """InternVL's."""


class _ImageOnlySmolVLM(_ImageOnly, SmolVLMProcessor):
    """SmolVLM's, whose chat template asks the video half how many frames it takes."""

    video_processor = SimpleNamespace(num_frames=None, fps=None)

    def __init__(
        self, image_processor: Any, tokenizer: Any, image_seq_len: int = 169, chat_template: Any = None, **settings: Any
    ) -> None:
        super().__init__(image_processor, tokenizer, None, image_seq_len, chat_template, **settings)


class _WithoutAbsent(ProcessorMixin):
    """Behind a processor that hands on the halves it has by name."""

    def __init__(self, feature_extractor: Any = None, video_processor: Any = None, **rest: Any) -> None:
        super().__init__(**rest)


class _ImageOnlyGemma4(_ImageOnly, Gemma4Processor, _WithoutAbsent):
    """Gemma 4's, without its audio half too."""

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: Any = None, **settings: Any) -> None:
        super().__init__(None, image_processor, tokenizer, None, chat_template=chat_template, **settings)


_WITHOUT_VIDEO: dict[str, Any] = {
    one.__mro__[2].__name__: one
    for one in (
        ImageOnlyQwenProcessor,
        _ImageOnlyQwen2,
        _ImageOnlyQwen3,
        _ImageOnlyGlm4v,
        _ImageOnlyOnevision,
        _ImageOnlyInternVL,
        _ImageOnlySmolVLM,
        _ImageOnlyGemma4,
    )
}


def image_only(processor_class: str) -> Any:
    """The class of a processor without its video half, by the name of the whole one."""
    return _WITHOUT_VIDEO[processor_class]


def pictures_of_prompts(processor: Any, pictures: list[Any], counts: Sequence[int]) -> list[Any]:
    """Pictures as a processor wants those of several prompts: in one list, or where it asks for it a list a prompt.

    Args:
        processor: of Hugging Face.
        pictures: of all prompts, in order.
        counts: of each prompt.
    """
    if not isinstance(processor, Gemma3Processor | Gemma4Processor | SmolVLMProcessor):
        return pictures
    ends = list(itertools.accumulate(counts))
    return [pictures[end - count : end] for end, count in zip(ends, counts, strict=True)]


def load_processor(folder_or_id: str | PathLike[str]) -> ProcessorMixin:
    """A model's processor from a folder or hub id; without its video half where torchvision is missing.

    Raises:
        SdvlmError: there is no processor; says where it looked.
    """
    try:
        if not is_torchvision_available():
            stored, _ = ProcessorMixin.get_processor_dict(folder_or_id)
            if stored.get("processor_class") in _WITHOUT_VIDEO:
                found: ProcessorMixin = _WITHOUT_VIDEO[stored["processor_class"]].from_pretrained(folder_or_id)
                return found
        processor = AutoProcessor.from_pretrained(folder_or_id)
    except (OSError, ValueError, ImportError) as error:
        raise SdvlmError(
            f"no processor (tokenizer, image processor) at '{folder_or_id}': {_first_line(error)}"
        ) from error
    if not isinstance(processor, ProcessorMixin):
        raise SdvlmError(f"'{folder_or_id}' holds only a {type(processor).__name__}; a processor with images is wanted")
    return processor


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
