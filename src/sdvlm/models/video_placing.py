"""What a processor does so that the videos of a prompt get their depth."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.families.video import video_family_of
from sdvlm.models.video_grid import VideoGrid
from sdvlm.models.videos import Video, checked_videos
from sdvlm.types import SdvlmError

__all__ = ["VideoPlacer"]


class VideoPlacer:
    """Depth of videos, as one model's fusion wants it.

    Args:
        fusion: settings; None: the model takes no depth.
        processor: the Hugging Face processor.
        vlm_config: of the vision-language model.
    """

    def __init__(self, fusion: FusionConfig | None, processor: Any, vlm_config: Any) -> None:
        self.fusion, self._processor, self._vlm_config = fusion, processor, vlm_config

    @cached_property
    def grid(self) -> VideoGrid:
        """Which pixels of which frames each video token looks at; made when first asked for.

        Raises:
            SdvlmError: the model's family takes no video here.
        """
        return VideoGrid(self._vlm_config, self._processor.video_processor)

    def check_taken(self, count: int, wording: Any) -> None:
        """That the model takes videos, if there are any.

        Args:
            count: of videos.
            wording: ``TemplatePrompts`` or ``ReleasedPrompts`` of the model.

        Raises:
            SdvlmError: it does not, or its processor lacks the half for it; says what to do.
        """
        if not count:
            return
        video_family_of(self._vlm_config)
        if not wording.takes_video:
            raise SdvlmError(f"prompts of the style '{wording.style}' take no video; set the conversation to None")
        if not callable(getattr(self._processor, "video_processor", None)):
            raise SdvlmError("video needs torchvision: pip install torchvision")

    def checked(self, videos: Sequence[Any], depth: Any, camera: Any, fps: Any, pictures: int) -> list[Video]:
        """The videos of a call with their depth, if model and fusion take them. Arguments: ``checked_videos``.

        Args:
            pictures: how many come in the same call.

        Raises:
            SdvlmError: they do not fit; or as ``checked_videos``.
        """
        out = checked_videos(self.fusion, videos, depth, camera, fps)
        if not out:
            return out
        facts, model = video_family_of(self._vlm_config), self._vlm_config.model_type
        if facts.apart and pictures:
            raise SdvlmError(f"'{model}' takes videos or pictures in one call, not both: {facts.apart}")
        counts = sorted({len(one) for one in out})
        if facts.even and len(counts) > 1:
            told = " and ".join(map(str, counts))
            raise SdvlmError(f"'{model}' takes videos of one length in a call; got {told} frames: call it for each")
        for one in out:
            facts.frame(self._processor.video_processor, one.size, len(one))  # refused in a line where it does not fit
        return out

    @property
    def among_pictures(self) -> bool:
        """Whether frames enter among the pictures, and their depth in the pictures' grid."""
        return self.grid.facts.as_pictures

    def strip(self, pictures: Sequence[Tensor], videos: Sequence[Video], order: Sequence[str]) -> Tensor:
        """(T, C) depth of pictures and videos in the order of their marks (``image`` or ``video``)."""
        rows: dict[str, Iterator[Tensor]] = {"image": iter(pictures), "video": map(self.grid.packed, videos)}
        return torch.cat([next(rows[kind]) for kind in order])

    def complete(self, batch: MutableMapping[str, Any], videos: Sequence[Video]) -> None:
        """Put ``depth_grid_videos`` into a batch if any of its videos has depth.

        Raises:
            SdvlmError: processor and model do not place the same number of tokens.
        """
        if not any(video.has_depth for video in videos):
            return
        packed = torch.cat([self.grid.packed(video) for video in videos])
        found = int((batch["input_ids"] == getattr(self._vlm_config, self.grid.facts.token)).sum())
        if found != len(packed):
            raise SdvlmError(
                f"the processor placed {found} video tokens but the videos have {len(packed)} token boxes; "
                "processor and model config do not belong together (patch size, merge size)"
            )
        batch["depth_grid_videos"] = packed
