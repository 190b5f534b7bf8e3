"""How much a batch is: tokens, pictures, dialogues, and which tokens see which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.fusion.pixel_layout import is_packed
from sdvlm.train.packing import IGNORED, PADDING

__all__ = ["BatchFacts", "batch_facts", "visible_pairs"]


@dataclass(frozen=True)
class BatchFacts:
    """Counts of one batch, padding left out.

    Args:
        rows: of the batch.
        tokens: that the language model reads.
        learned: tokens that a loss is taken of; the model makes logits for as many.
        pairs: (query, key) pairs that attention lets through, of one head and layer.
        dialogues: taught; a picture's questions each count as one.
        grids: (rows, columns) of patches of each picture that the vision tower sees.
        depth_tokens: image tokens with known depth.
        reads_depth: whether the batch goes through the fusion.
    """

    rows: int
    tokens: int
    learned: int
    pairs: int
    dialogues: int
    grids: tuple[tuple[int, int], ...]
    depth_tokens: int = 0
    reads_depth: bool = False

    @property
    def images(self) -> int:
        """Pictures."""
        return len(self.grids)

    @property
    def patches(self) -> int:
        """Of all pictures."""
        return sum(rows * columns for rows, columns in self.grids)


def batch_facts(batch: Mapping[str, Any], vision_config: Any) -> BatchFacts:
    """Count a batch.

    Args:
        batch: of ``train.encode``.
        vision_config: of the vision tower; says how pictures are cut.
    """
    mask = batch["attention_mask"].bool()
    segments = batch["segments"] if "segments" in batch else torch.where(mask, 0, PADDING)
    depth = batch.get("depth_grid")
    families = batch.get("families")
    return BatchFacts(
        rows=len(mask),
        tokens=int((segments != PADDING).sum()),
        learned=int((batch["labels"][:, 1:] != IGNORED).sum()),
        pairs=visible_pairs(segments),
        dialogues=len(families) if families is not None else _dialogues(segments),
        grids=_grids(
            batch.get("pixel_values"), batch.get("image_grid_thw"), batch.get("depth_pictures"), vision_config
        ),
        depth_tokens=0 if depth is None else int(depth[:, CHANNELS.index("z")].isfinite().sum()),
        reads_depth=depth is not None,
    )


def visible_pairs(segments: Tensor) -> int:
    """Number of (query, key) pairs of packed rows: the prefix causally, each dialogue the prefix and itself causally.

    Args:
        segments: (B, L) 0 in the prefix, k in the k-th dialogue, -1 at padding.
    """
    total = 0
    for row in segments.cpu():
        numbers, counts = row[row >= 0].unique(return_counts=True)
        prefix = int(counts[numbers == 0].sum())
        own = [int(count) for number, count in zip(numbers.tolist(), counts, strict=True) if number > 0]
        total += prefix * (prefix + 1) // 2 + sum(n * prefix + n * (n + 1) // 2 for n in own)
    return total


def _dialogues(segments: Tensor) -> int:
    return sum(max(1, int(row.max())) for row in segments)


def _grids(
    pixels: Tensor | None, image_grid: Tensor | None, depth_pictures: Tensor | None, vision_config: Any
) -> tuple[tuple[int, int], ...]:
    """Patches of the pictures that have pixels; slots of depth pictures have none."""
    if pixels is None:
        return ()
    if is_packed(vision_config):
        assert image_grid is not None
        shown = image_grid if depth_pictures is None else image_grid[~depth_pictures.to(image_grid.device)]
        return tuple((frames * rows, columns) for frames, rows, columns in shown.tolist())
    size = vision_config.patch_size
    tall, wide = size if isinstance(size, list | tuple) else (size, size)
    pictures = pixels.shape[0] if pixels.ndim == 4 else pixels.shape[0] * pixels.shape[1]
    return ((pixels.shape[-2] // tall, pixels.shape[-1] // wide),) * int(pictures)
