"""The pairs of a run: which are trained on and which are held out, and the RGB tower's features of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdvlm.pairs.augment import AugmentConfig
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pretrain.batches import chosen_share
from sdvlm.pretrain.cells import pool_cells
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.evaluate import spread
from sdvlm.pretrain.pictures import Preparation, Samples
from sdvlm.pretrain.processes import rank, wait, world
from sdvlm.pretrain.rgb_cache import FeatureCache, default_feature_folder
from sdvlm.pretrain.teacher import Teacher
from sdvlm.types import DepthKind, SdvlmError

__all__ = ["RunData", "open_data"]

_MOMENT_PAIRS = 1024
"""pictures that mean and deviation are taken over where features are not cached"""


@dataclass(frozen=True)
class RunData:
    """What a run trains on and is measured on.

    Args:
        train: training pairs, augmented if asked for.
        plain: the same as they are, for the probes.
        test: held-out pairs of other scenes.
        moments: mean and deviation of the RGB tower's pooled features over training pairs, each (cells, Dv).
        facts: digests and counts.
        cached: pictures encoded now for the caches.
    """

    train: Samples
    plain: Samples
    test: Samples
    moments: tuple[Tensor, Tensor]
    facts: dict[str, Any]
    cached: int


def open_data(
    folder: Path,
    config: PretrainConfig,
    preparation: Preparation,
    teacher: Teacher,
    cache_folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunData:
    """Open the pairs and, where features are cached, fill the caches.

    Raises:
        SdvlmError: no data set of pairs, no held-out split, too few pairs, depth the objective cannot use, or features
            that do not fit on the allowed disk.
    """
    digest = ""
    opened = {}
    for split in ("train", "test"):
        pairs = _split(folder, split)
        digest = hashlib.sha256(json.dumps([one.sha256 for one in pairs.manifest.files]).encode()).hexdigest()
        copies, scenes, kinds = pairs.column("copy"), pairs.scene_ids(), pairs.column("kind")
        _check_kinds(folder, set(kinds), config)
        kept = [index for index, copy in enumerate(copies) if copy == 0 or split == "train"]
        if split == "train":
            kept = [kept[one] for one in chosen_share(len(kept), config.share, config.seed)]
        else:
            kept = [kept[one] for one in sorted(spread([scenes[one] for one in kept], config.eval_pairs, config.seed))]
        if len(kept) < 2:
            raise SdvlmError(f"{folder}: has {len(kept)} pairs to use in the split '{split}'; at least 2 are needed")
        opened[split] = Samples(pairs, kept, [scenes[index] for index in kept], preparation, config.seed)
    train, test = opened["train"], opened["test"]
    shared = sorted({one for one in train.scene_ids if one} & {one for one in test.scene_ids if one})
    if shared:
        raise SdvlmError(f"{folder}: scene {shared[0]} is in both splits; build the pairs again with sdvlm pairs")
    facts = {
        "digest": digest,
        "train_pairs": len(train),
        "test_pairs": len(test),
        "train_scenes": len(set(train.scene_ids) - {""}),
        "test_scenes": len(set(test.scene_ids) - {""}),
    }
    cached = 0
    if config.uses_cache:
        shape = _feature_shape(teacher, train)
        made_from = teacher.made_from(preparation.image_processor) | {"data": digest, "cells": config.pool}
        root = cache_folder or default_feature_folder()
        train, more = _with_features(train, "train", teacher, config, made_from, shape, root, progress)
        test, last = _with_features(test, "test", teacher, config, made_from, shape, root, progress)
        cached = more + last
    plain = train
    if config.augments:
        augmentation = AugmentConfig(config.flip, 0.0, config.rotate_degrees, (config.crop, 1.0))
        train = replace(train, augmentation=augmentation)
    return RunData(train, plain, test, _moments(teacher, plain, config), facts, cached)


def _split(folder: Path, split: str) -> PairDataset:
    try:
        return PairDataset(folder, split)
    except SdvlmError as error:
        if split == "test" and "split" in str(error):
            raise SdvlmError(
                f"{error}; pairs of other scenes are needed to measure on: build with --test-share"
            ) from None
        raise


def _check_kinds(folder: Path, kinds: set[str], config: PretrainConfig) -> None:
    if kinds <= {str(DepthKind.METRIC)}:
        return
    others = ", ".join(sorted(kinds - {str(DepthKind.METRIC)}))
    if config.coordinate != "per_image" or set(config.extras) - {"valid"}:
        raise SdvlmError(
            f"{folder}: holds {others} depth, and the channel '{config.coordinate}' needs metres; estimate metric "
            "depth, or use --set coordinate=per_image --set extras=valid"
        )
    if config.objective == "comae" or config.reconstructs:
        raise SdvlmError(f"{folder}: holds {others} depth, which has no metres to reconstruct; use --objective infonce")


def _feature_shape(teacher: Teacher, samples: Samples) -> tuple[int, int]:
    """(patches, width) of the first picture."""
    (chunk,) = samples.chunks([0], 1)
    (features,) = teacher.patches(chunk)
    return int(features.shape[0]), int(features.shape[1])


def _with_features(
    samples: Samples,
    split: str,
    teacher: Teacher,
    config: PretrainConfig,
    made_from: dict[str, Any],
    shape: tuple[int, int],
    root: Path,
    progress: Callable[[int, int], None] | None,
) -> tuple[Samples, int]:
    """Samples that read the RGB tower's features from disk, and how many pictures were encoded for it."""
    rows = hashlib.sha256(np.asarray(samples.chosen, dtype=np.int64).tobytes()).hexdigest()
    named = made_from | {"split": split, "rows": rows}
    limit = int(config.cache_gb * 1e9)
    made, caches = 0, {}
    for what, row in (("pooled", (config.pool**2, shape[1])), ("patches", shape)):
        if what == "patches" and (split == "test" or not config.contrasts_patches):
            continue
        cache = FeatureCache(root, named | {"what": what}, len(samples), row, limit)
        compute = teacher.rows(samples, config.chunk, patches=what == "patches")
        made += cache.fill(compute, (rank(), world()), progress)
        caches[what] = cache
    wait()
    return replace(samples, pooled=caches["pooled"], patches=caches.get("patches")), made


def _moments(teacher: Teacher, samples: Samples, config: PretrainConfig) -> tuple[Tensor, Tensor]:
    if samples.pooled is not None:
        mean, deviation = samples.pooled.moments()
        return torch.from_numpy(mean), torch.from_numpy(deviation)
    some = spread(samples.scene_ids, min(_MOMENT_PAIRS, len(samples)), config.seed)
    pooled = torch.cat(
        [pool_cells(teacher.patches(one), one.grids, config.pool).cpu() for one in samples.chunks(some, config.chunk)]
    )
    return pooled.mean(dim=0), pooled.std(dim=0)
