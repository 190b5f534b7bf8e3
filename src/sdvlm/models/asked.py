"""What a caller asks: prompts with their pictures and videos, paired up with the marks in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from sdvlm.models.conversation import Prompt, as_batch, pictures_in, videos_in
from sdvlm.models.pictures import flat, merge_pictures, picture_of
from sdvlm.models.video_placing import VideoPlacer
from sdvlm.models.videos import flat_videos
from sdvlm.types import SdvlmError

__all__ = ["Asked", "asked", "check_marks"]


@dataclass(frozen=True, eq=False)
class Asked:
    """Prompts, and the pictures and videos that belong to their marks in order."""

    prompts: list[Prompt]
    pictures: list[Image.Image]
    videos: list[Any]


def asked(
    wording: Any,
    filming: VideoPlacer,
    messages: Any = None,
    text: Any = None,
    images: Any = None,
    videos: Any = None,
    labels: bool = False,
) -> Asked:
    """Messages worded, or text as it is, with what it shows.

    Args:
        wording: ``TemplatePrompts`` or ``ReleasedPrompts``.
        filming: knows whether the model takes videos.
        messages, text, images, videos, labels: as a call of ``DepthProcessor`` takes them.

    Raises:
        SdvlmError: not exactly one of messages and text is given, or counts disagree.
    """
    if (messages is None) == (text is None):
        raise SdvlmError("give either messages or text")
    if messages is not None:
        conversations = as_batch(messages)
        images = merge_pictures([one for c in conversations for one in pictures_in(c)], images)
        shown = [one for c in conversations for one in videos_in(c)]
        videos = merge_pictures(shown, videos, flat_videos, "video")
        filming.check_taken(max(len(videos), len(shown)), wording)
        prompts = [wording.training(c) if labels else Prompt(wording.asking(c)) for c in conversations]
    else:
        if labels:
            raise SdvlmError("labels need messages, which say who speaks; got text")
        prompts = [Prompt(one) for one in ([text] if isinstance(text, str) else text or [])]
        videos = flat_videos(videos)
        filming.check_taken(len(videos), wording)
    out = Asked(prompts, [picture_of(image) for image in flat(images)], videos)
    check_marks(wording.processor, prompts, len(out.pictures), len(out.videos))
    return out


def check_marks(processor: Any, prompts: Sequence[Prompt], pictures: int, videos: int | None = None) -> None:
    """That prompts have as many marks as there are pictures and videos; ``videos`` None: these take none.

    Raises:
        SdvlmError: they have not.
    """
    for what, mark, came in (
        ("pictures", processor.image_token, pictures),
        ("videos", getattr(processor, "video_token", None), videos),
    ):
        marks = sum(prompt.text.count(mark) for prompt in prompts) if mark else 0
        if marks and came is None:
            raise SdvlmError("prompts that are encoded together take no video; call the processor for each")
        if marks != (came or 0):
            raise SdvlmError(f"the prompts have room for {marks} {what} but {came} came")
