"""Image processors and processors as users have them: torchvision's where it is installed, else Pillow's.

Families differ from one backend to the other only in arithmetic, so everything proven holds under both.
"""

from __future__ import annotations

from typing import Any

import transformers
from transformers import LlavaProcessor
from transformers.utils.import_utils import is_torchvision_available

from sdvlm.models.families.processors import image_only

__all__ = ["image_processor", "llava_processor", "with_video_half"]


def image_processor(name: str, **settings: Any) -> Any:
    """The image processor of that name, as ``AutoImageProcessor`` would choose its backend."""
    return getattr(transformers, name if is_torchvision_available() else f"{name}Pil")(**settings)


def with_video_half(name: str, video: str, video_settings: dict[str, Any], **parts: Any) -> Any:
    """A processor that has a video half, which needs torchvision and is left out without it.

    Args:
        name: of the processor's class.
        video: name of the class of its video half.
        video_settings: of that.
        parts: everything else it is made of.
    """
    if not is_torchvision_available():
        return image_only(name)(**parts)
    half = getattr(transformers, video)(**video_settings)
    return getattr(transformers, name)(video_processor=half, **parts)


def llava_processor(pictures: Any, tokenizer: Any, patch: int, chat_template: str, class_token: bool = True) -> Any:
    """LLaVA's: one placeholder a patch of a tower, whose class token is dropped if it has one."""
    return LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default" if class_token else "full",
        chat_template=chat_template,
        num_additional_image_tokens=int(class_token),
    )
