"""A model's processor, also where torchvision is missing and a family's video half cannot be built."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from os import PathLike
from types import SimpleNamespace
from typing import Any

import torch
from transformers import (
    AutoProcessor,
    Gemma3Processor,
    Glm4vProcessor,
    InternVLProcessor,
    Lfm2VlProcessor,
    LlavaOnevisionProcessor,
    PerceptionLMProcessor,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
    SmolVLMProcessor,
)
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.models.families.queried import puts_queries_first, with_queries
from sdvlm.types import SdvlmError

try:
    from transformers import Gemma4Processor
except ImportError:  # 5.20 imports it with torchvision alone

    class Gemma4Processor(ProcessorMixin):  # type: ignore[no-redef]
        """Stands where there is none: nothing is one."""


__all__ = [
    "ImageOnlyQwenProcessor",
    "adds_special_tokens",
    "image_only",
    "load_processor",
    "pan_and_scan",
    "pictures_of_prompts",
    "processed",
]


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


_NESTED = Gemma3Processor | Gemma4Processor | Lfm2VlProcessor | LlavaOnevisionProcessor | SmolVLMProcessor
"""those that ask which pictures stand in which prompt"""


def pictures_of_prompts(processor: Any, pictures: list[Any], counts: Sequence[int]) -> list[Any]:
    """Pictures as a processor wants those of several prompts: in one list, or where it asks for it a list a prompt.

    Args:
        processor: of Hugging Face.
        pictures: of all prompts, in order.
        counts: of each prompt.
    """
    if not isinstance(processor, _NESTED):
        return pictures
    ends = list(itertools.accumulate(counts))
    return [pictures[end - count : end] for end, count in zip(ends, counts, strict=True)]


def processed(processor: Any, **given: Any) -> dict[str, Any]:
    """What a processor makes of texts, images and videos, in tensors.

    Perception LM's stacks the tiles of pictures, which fails where they are not equally many; here they come one after
    another, as (tiles, 1, 3, height, width). Llama 4's makes pixels in bfloat16; here they come in float32 as of all
    others, to be cast to the model's precision. Gemma 3's pans and scans where its image processor says so; of itself
    it would not (transformers 5.23).
    """
    if puts_queries_first(processor):
        return with_queries(processor, given)
    if isinstance(processor, Gemma3Processor) and given.get("images") is not None:
        given |= {"do_pan_and_scan": bool(processor.image_processor.do_pan_and_scan)}
        given |= pan_and_scan(processor.image_processor)
    if not isinstance(processor, PerceptionLMProcessor):
        made = dict(processor(**given))
        pixels = made.get("pixel_values")
        if isinstance(pixels, torch.Tensor) and pixels.dtype == torch.bfloat16:
            made["pixel_values"] = pixels.float()
        return made
    out: dict[str, Any] = {}
    for name, value in processor(**{**given, "return_tensors": None}).items():
        if name in ("pixel_values", "pixel_values_videos"):
            out[name] = torch.cat(list(value))[:, None]
        else:
            out[name] = torch.tensor(value) if name in _ROWS else value
    return out


_ROWS = ("input_ids", "attention_mask", "mm_token_type_ids")


def adds_special_tokens(processor: Any) -> bool:
    """Whether a processor lets its tokenizer add special tokens (LFM2-VL's does not)."""
    return bool(_defaults(processor, "text_kwargs").get("add_special_tokens", True))


def pan_and_scan(image_processor: Any) -> dict[str, Any]:
    """Settings of Gemma 3's crops: as the image processor states them, else as its processor would."""
    names = ("pan_and_scan_min_crop_size", "pan_and_scan_max_num_crops", "pan_and_scan_min_ratio_to_activate")
    stated = {name: getattr(image_processor, name) for name in names}
    of_old = _defaults(Gemma3Processor, "images_kwargs")
    return {name: of_old[name] if value is None else value for name, value in stated.items()}


def _defaults(processor: Any, kind: str) -> dict[str, Any]:
    """What a processor passes to a half of it unless told otherwise."""
    stated = getattr(processor, kind, None)  # before transformers 5.23: defaults of the class of its arguments
    if stated is None:
        stated = getattr(getattr(processor, "valid_processor_kwargs", None), "_defaults", {}).get(kind, {})
    return dict(stated)


def load_processor(folder_or_id: str | PathLike[str]) -> ProcessorMixin:
    """A model's processor from a folder or hub id; without its video half where torchvision is missing.

    Raises:
        SdvlmError: there is no processor, or it works only with torchvision; says where it looked and what to do.
    """
    try:
        processor = _loaded(folder_or_id)
    except (OSError, ValueError, ImportError) as error:
        if "torchvision" in str(error).lower() and not is_torchvision_available():
            raise SdvlmError(
                f"the processor at '{folder_or_id}' works only with torchvision, which is not installed: "
                "pip install torchvision"
            ) from error
        raise SdvlmError(
            f"no processor (tokenizer, image processor) at '{folder_or_id}': {_first_line(error)}"
        ) from error
    if not isinstance(processor, ProcessorMixin):
        raise SdvlmError(f"'{folder_or_id}' holds only a {type(processor).__name__}; a processor with images is wanted")
    return processor


def _loaded(folder_or_id: str | PathLike[str]) -> Any:
    stored, _ = ProcessorMixin.get_processor_dict(folder_or_id)
    halved = _WITHOUT_VIDEO.get(stored.get("processor_class", ""))
    if halved is None:
        return AutoProcessor.from_pretrained(folder_or_id)
    if not is_torchvision_available():
        return halved.from_pretrained(folder_or_id)
    try:
        return AutoProcessor.from_pretrained(folder_or_id)
    except OSError:  # saved where there was no torchvision, so without its video half
        return halved.from_pretrained(folder_or_id)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
