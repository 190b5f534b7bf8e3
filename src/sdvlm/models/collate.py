"""Examples to training batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdvlm.models.conversation import pictures_in, videos_in
from sdvlm.models.pictures import merge_pictures, per_picture
from sdvlm.models.processor import DepthBatch, DepthProcessor
from sdvlm.models.videos import flat_videos
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["DepthCollator"]

_OF_VIDEOS = ("video_depth", "video_camera", "fps")


class DepthCollator:
    """Examples to a training batch, for ``transformers.Trainer(data_collator=...)``.

    Each example is a mapping with ``messages`` and, parallel to its image parts, ``images``, ``depth`` and ``camera``;
    and, parallel to its video parts, ``videos``, ``video_depth``, ``video_camera`` and ``fps``, each entry as
    ``models.videos.checked_videos`` takes it. All but ``messages`` may be absent, and entries but of pictures and
    videos may be None.

    Args:
        processor: makes the batch.
        max_length: in tokens; longer examples are refused.
        padding_side: of the batch.
    """

    def __init__(self, processor: DepthProcessor, max_length: int | None = None, padding_side: str = "right") -> None:
        self.processor, self.max_length, self.padding_side = processor, max_length, padding_side

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> DepthBatch:
        """A batch with ``labels``: answers' tokens, -100 elsewhere. Raises as :class:`DepthProcessor` does."""
        columns: dict[str, list[Any]] = {"images": [], "depth": [], "camera": []}
        films: dict[str, list[Any]] = {"videos": [], **{name: [] for name in _OF_VIDEOS}}
        for index, example in enumerate(examples):
            pictures = [p for message in example["messages"] for p in pictures_in([message])]
            pictures = merge_pictures(pictures, example.get("images"))
            columns["images"] += pictures
            for name, kind in (("depth", DepthMap), ("camera", Camera)):
                found = per_picture(example.get(name), len(pictures), f"entries of {name} in example {index}", kind)
                columns[name] += found
            videos = [video for message in example["messages"] for video in videos_in([message])]
            videos = merge_pictures(videos, example.get("videos"), flat_videos, "video")
            films["videos"] += videos
            for name in _OF_VIDEOS:
                films[name] += _per_video(example.get(name), len(videos), f"{name} of example {index}")
        bare = [[_without_pictures(message) for message in example["messages"]] for example in examples]
        columns |= films if films["videos"] else {}
        return self.processor(bare, **columns, labels=True, padding_side=self.padding_side, max_length=self.max_length)


def _per_video(values: Any, count: int, what: str) -> list[Any]:
    """One entry a video.

    Raises:
        SdvlmError: another count.
    """
    found = [None] * count if values is None else list(values)
    if len(found) != count:
        raise SdvlmError(f"got {len(found)} entries of {what} for {count} videos; give one a video, None where unknown")
    return found


def _without_pictures(message: dict[str, Any]) -> dict[str, Any]:
    if isinstance(message["content"], str):
        return message
    content = [{k: v for k, v in part.items() if k not in ("image", "video")} for part in message["content"]]
    return {**message, "content": content}
