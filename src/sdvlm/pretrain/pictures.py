"""Pairs as the towers read them: one prepared sample a pair, and chunks of them.

Depth follows the RGB picture through the image processor's resize, crop and padding; where RGB features are cached the
picture is not even decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.pixel_layout import lay_out
from sdvlm.geometry.replay import replay
from sdvlm.pairs.augment import AugmentConfig, augment
from sdvlm.pairs.columns import depth_of
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pretrain.info_nce import scene_numbers
from sdvlm.pretrain.rgb_cache import FeatureCache
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["Chunk", "Preparation", "Prepared", "Samples", "chunk_of", "patch_side"]

Inputs = dict[str, Tensor]
"""``pixel_values`` and, for packed towers, ``image_grid_thw``"""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One pair, ready for the towers.

    Args:
        index: of the pair in its data set.
        scene_id: its scene.
        depth: input of the depth tower, a batch of one.
        grid: (rows, columns) of patches.
        metres: (H, W) float32 depth of the pixels the tower reads, NaN where unknown or not metric.
        rgb: input of the RGB tower, where its features are not cached.
        pooled: (cells, D) cached features of the RGB tower.
        patches: (N, D) cached patch features of it.
    """

    index: int
    scene_id: str
    depth: Inputs
    grid: tuple[int, int]
    metres: Tensor
    rgb: Inputs | None = None
    pooled: Tensor | None = None
    patches: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some pairs as one input; fields as those of ``Prepared``, B of them.

    Args:
        depth: inputs of B pictures.
        grids: (rows, columns) of each.
        metres: (H_i, W_i) of each.
        scenes: (B,) int64 numbers of the scenes.
        rgb: inputs of B pictures, or None.
        pooled: (B, cells, D), or None.
        patches: (N_i, D) of each, or None.
    """

    indices: tuple[int, ...]
    depth: Inputs
    grids: tuple[tuple[int, int], ...]
    metres: tuple[Tensor, ...]
    scenes: Tensor
    rgb: Inputs | None
    pooled: Tensor | None
    patches: tuple[Tensor, ...] | None

    def __len__(self) -> int:
        return len(self.indices)

    def first(self, count: int) -> Chunk:
        """The first pictures alone."""
        if count >= len(self):
            return self
        packed = "image_grid_thw" in self.depth
        end = sum(rows * columns for rows, columns in self.grids[:count]) if packed else count

        def cut(inputs: Inputs | None) -> Inputs | None:
            if inputs is None:
                return None
            return {key: one[: end if key == "pixel_values" else count] for key, one in inputs.items()}

        return Chunk(
            self.indices[:count],
            cut(self.depth) or {},
            self.grids[:count],
            self.metres[:count],
            self.scenes[:count],
            cut(self.rgb),
            None if self.pooled is None else self.pooled[:count],
            None if self.patches is None else self.patches[:count],
        )

    def to(self, device: str) -> Chunk:
        """The same on another device."""
        if device == "cpu":
            return self

        def moved(inputs: Inputs | None) -> Inputs | None:
            return None if inputs is None else {key: one.to(device, non_blocking=True) for key, one in inputs.items()}

        return replace(
            self,
            depth=moved(self.depth) or {},
            metres=tuple(one.to(device) for one in self.metres),
            scenes=self.scenes.to(device),
            rgb=moved(self.rgb),
            pooled=None if self.pooled is None else self.pooled.to(device),
            patches=None if self.patches is None else tuple(one.to(device) for one in self.patches),
        )


def chunk_of(samples: Sequence[Prepared]) -> Chunk:
    """Several prepared pairs as one chunk."""

    def joined(parts: Sequence[Inputs | None]) -> Inputs | None:
        given = [one for one in parts if one is not None]
        return {key: torch.cat([one[key] for one in given]) for key in given[0]} if given else None

    return Chunk(
        tuple(one.index for one in samples),
        joined([one.depth for one in samples]) or {},
        tuple(one.grid for one in samples),
        tuple(one.metres for one in samples),
        scene_numbers([one.scene_id for one in samples]),
        joined([one.rgb for one in samples]),
        torch.stack([one.pooled for one in samples if one.pooled is not None])
        if samples[0].pooled is not None
        else None,
        tuple(one.patches for one in samples if one.patches is not None) if samples[0].patches is not None else None,
    )


def patch_side(vision_config: Any) -> int:
    """Side of a tower's patch in pixels of the processed picture."""
    size = vision_config.patch_size
    return int(size if isinstance(size, int) else size[0])


@dataclass(frozen=True)
class Preparation:
    """What turns a pair into tower inputs; small, so that reader processes can have it.

    Args:
        channels: planes of the depth tower.
        image_processor: of the RGB tower.
        vision_config: of either tower; both have the same patches.
    """

    channels: DepthChannels
    image_processor: Any
    vision_config: Any

    @property
    def patch(self) -> int:
        """Side of a patch in pixels of the processed picture."""
        return patch_side(self.vision_config)

    def depth(self, depth: DepthMap, camera: Camera | None) -> tuple[Inputs, tuple[int, int], Tensor]:
        """Inputs of the depth tower, patch grid, (H, W) metres of the pixels it reads (NaN where there are none)."""
        steps = replay(self.image_processor, depth.size)
        planes = torch.from_numpy(self.channels.processed(steps, depth, camera))
        width, height = steps.target_size
        metres = steps.depth(depth).values.copy()
        if depth.kind is not DepthKind.METRIC:
            metres = np.full_like(metres, np.nan)
        grid = (height // self.patch, width // self.patch)
        return lay_out([planes], self.vision_config), grid, torch.from_numpy(metres)

    def rgb(self, image: NDArray[np.uint8]) -> Inputs:
        """Inputs of the RGB tower, as its own processor makes them."""
        made = self.image_processor(images=[image], return_tensors="pt", input_data_format="channels_last")
        return {key: made[key] for key in ("pixel_values", "image_grid_thw") if key in made}


@dataclass(frozen=True)
class Samples(torch.utils.data.Dataset[Prepared]):
    """Prepared pairs by (position, step), for a loader.

    Args:
        pairs: the data set.
        chosen: indices of the pairs that are used; positions count in here.
        scene_ids: of the chosen pairs.
        preparation: of the towers.
        seed: of the run; with step and index it decides how a pair is augmented.
        augmentation: None: pairs as they are.
        pooled: cached features, row i for position i; None: the picture is read and prepared as well.
        patches: cached patch features, rows of (N, D); None where no objective wants them.
        scales: factors on the depth maps of each position, for probes; None: 1.
    """

    pairs: PairDataset
    chosen: Sequence[int]
    scene_ids: Sequence[str]
    preparation: Preparation
    seed: int = 0
    augmentation: AugmentConfig | None = None
    pooled: FeatureCache | None = None
    patches: FeatureCache | None = None
    scales: Sequence[float] | None = None
    with_rgb: bool = True

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, key: tuple[int, int]) -> Prepared:
        position, step = key
        index = self.chosen[position]
        rgb = None
        if self.augmentation is not None or (self.with_rgb and self.pooled is None):
            pair = self.pairs[index]
            if self.augmentation is not None:
                pair, _ = augment(pair, np.random.default_rng([self.seed, step, index]), self.augmentation)
            depth, camera = pair.depth, pair.camera
            rgb = self.preparation.rgb(pair.image)
        else:
            row = self.pairs.row(index)
            depth, camera = depth_of(row), None if row["camera"] is None else Camera(**row["camera"])
        if self.scales is not None:
            depth = depth.scaled(self.scales[position])
        try:
            inputs, grid, metres = self.preparation.depth(depth, camera)
        except SdvlmError as error:
            raise SdvlmError(f"{self.pairs.folder}, pair {index}: {error}") from error
        return Prepared(
            index,
            self.scene_ids[position],
            inputs,
            grid,
            metres,
            rgb,
            None if self.pooled is None else torch.from_numpy(self.pooled[[position]][0]),
            None if self.patches is None else torch.from_numpy(self.patches[[position]][0]),
        )

    def chunks(self, positions: Sequence[int], size: int, step: int = 0) -> Iterator[Chunk]:
        """Chunks of the pairs at some positions, in order, read in this process."""
        for start in range(0, len(positions), size):
            yield chunk_of([self[position, step] for position in positions[start : start + size]])
