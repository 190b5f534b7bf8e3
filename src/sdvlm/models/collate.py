"""Examples to training batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdvlm.models.conversation import pictures_in
from sdvlm.models.pictures import merge_pictures, per_picture
from sdvlm.models.processor import DepthBatch, DepthProcessor
from sdvlm.types import Camera, DepthMap

__all__ = ["DepthCollator"]


class DepthCollator:
    """Examples to a training batch, for ``transformers.Trainer(data_collator=...)``.

    Each example is a mapping with ``messages`` and, parallel to its image parts, ``images``, ``depth`` and ``camera``;
    all but ``messages`` may be absent, and entries of ``depth`` and ``camera`` may be None.

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
        for index, example in enumerate(examples):
            pictures = [p for message in example["messages"] for p in pictures_in([message])]
            pictures = merge_pictures(pictures, example.get("images"))
            columns["images"] += pictures
            for name, kind in (("depth", DepthMap), ("camera", Camera)):
                found = per_picture(example.get(name), len(pictures), f"entries of {name} in example {index}", kind)
                columns[name] += found
        bare = [[_without_pictures(message) for message in example["messages"]] for example in examples]
        return self.processor(bare, **columns, labels=True, padding_side=self.padding_side, max_length=self.max_length)


def _without_pictures(message: dict[str, Any]) -> dict[str, Any]:
    if isinstance(message["content"], str):
        return message
    content = [{k: v for k, v in part.items() if k != "image"} for part in message["content"]]
    return {**message, "content": content}
