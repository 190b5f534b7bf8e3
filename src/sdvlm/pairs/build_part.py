"""One chunk of a source into the bytes of a part: decoded once, hashed, estimated in batches, checked, encoded."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdvlm.data.parquet import RowWriter
from sdvlm.data.splits import place_of
from sdvlm.depth.estimator import DepthEstimate, DepthEstimator, load_estimator
from sdvlm.engine.job import one_line
from sdvlm.geometry.transform import resize
from sdvlm.pairs.augment import augment
from sdvlm.pairs.columns import PAIRS, Row, picture_bytes, row_of
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.phash import NearDuplicates, perceptual_hash
from sdvlm.pairs.record import Pair
from sdvlm.pairs.source import Chunk, RawPair, Refusal
from sdvlm.types import SdvlmError

__all__ = ["Job", "Unusable", "build_part"]

_WINDOW_PICTURES = 32
"""pictures are estimated in windows of so many, so that those of one size find each other for a batch"""
_WINDOW_PIXELS = 48_000_000
"""or of so many pixels, whichever is less: what a worker holds decoded at a time"""
_OWN_LICENCE = "of the source"


@dataclass(frozen=True)
class Job:
    """A chunk and what to do with it; travels to a worker."""

    chunk: Chunk
    config: PairsConfig


@dataclass(frozen=True)
class Unusable:
    """Why no chunk can be built: the estimator does not load."""

    reason: str


@dataclass
class _Part:
    """What has become of the pictures of a chunk so far."""

    rows: list[Row] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Picture:
    """A decoded picture that waits for its depth."""

    raw: RawPair
    phash: int


def build_part(job: Job) -> bytes | Unusable:
    """Build a chunk, in a worker: the bytes of its part, a parquet file whose metadata say what was left out."""
    part = _Part()
    try:
        for window in _windows(_pictures(job, part), max(_WINDOW_PICTURES, job.config.batch_size or 0)):
            _finish(window, job.config, part)
    except _EstimatorError as error:
        return Unusable(str(error))
    meta = {
        "key": job.chunk.key,
        "refused": [[one.pair_id, one.reason] for one in part.refused],
        "duplicates": part.duplicates,
    }
    stream = io.BytesIO()
    with RowWriter(stream, "pair", meta, PAIRS) as writer:
        for row in part.rows:
            writer.write([row])
    return stream.getvalue()


class _EstimatorError(SdvlmError):
    """The estimator cannot be loaded: no chunk can be built."""


def _pictures(job: Job, part: _Part) -> Iterator[_Picture]:
    """Pictures to find depth for; refusals and near-duplicates within the chunk are noted."""
    config = job.config
    near = None if config.dedupe is None else NearDuplicates(config.dedupe)
    for raw in job.chunk.read():
        if isinstance(raw, Refusal):
            part.refused.append(raw)
            continue
        if config.depth == "sensor" and raw.depth is None:
            part.refused.append(Refusal(raw.pair_id, f"{raw.pair_id}: has no depth of its own, and none is estimated"))
            continue
        phash = perceptual_hash(raw.image)
        if near is not None:
            if (earlier := near.seen(phash)) is not None:
                part.duplicates.append((raw.pair_id, earlier))
                continue
            near.add(phash, raw.pair_id)
        yield _Picture(_shrunk(raw, config.max_side), phash)


def _shrunk(raw: RawPair, max_side: int | None) -> RawPair:
    height, width = raw.image.shape[:2]
    if max_side is None or max(width, height) <= max_side:
        return raw
    share = max_side / max(width, height)
    change = resize((width, height), (max(1, round(width * share)), max(1, round(height * share))))
    return replace(
        raw,
        image=change.image(raw.image),
        encoded=None,
        depth=raw.depth and change.depth(raw.depth),
        camera=raw.camera and change.camera(raw.camera),
    )


def _windows(pictures: Iterator[_Picture], most: int) -> Iterator[list[_Picture]]:
    window: list[_Picture] = []
    pixels = 0
    for picture in pictures:
        window.append(picture)
        pixels += picture.raw.image.size // 3
        if len(window) == most or pixels >= _WINDOW_PIXELS:
            yield window
            window, pixels = [], 0
    if window:
        yield window


def _finish(window: Sequence[_Picture], config: PairsConfig, part: _Part) -> None:
    """Depth for the pictures of a window, and their rows, in order."""
    lacking = [one for one in window if config.depth == "estimated" or one.raw.depth is None]
    estimator = _estimator(config) if lacking else None
    found = {} if estimator is None else _estimates(estimator, [one.raw for one in lacking])
    for picture in window:
        raw = picture.raw
        if estimator is not None and raw.pair_id in found:
            estimate, licence = found[raw.pair_id], estimator.licence
        elif raw.depth is not None:
            estimate, licence = DepthEstimate(raw.depth, raw.camera), _OWN_LICENCE
        fault = estimate if isinstance(estimate, str) else _fault(estimate, raw.image, config.min_valid)
        if isinstance(estimate, str) or fault is not None:
            part.refused.append(Refusal(raw.pair_id, f"{raw.pair_id}: {fault}"))
        else:
            part.rows += _rows(picture, estimate, licence, config)


def _estimates(estimator: DepthEstimator, raws: Sequence[RawPair]) -> dict[str, DepthEstimate | str]:
    """An estimate for each picture by its id, or why there is none. One that fails takes no other down."""
    try:
        made = estimator.estimate([one.image for one in raws], [one.camera for one in raws])
        if len(made) == len(raws):
            return {raw.pair_id: estimate for raw, estimate in zip(raws, made, strict=True)}
        failed = f"{estimator.id} gave {len(made)} maps for {len(raws)} pictures"
    except Exception as error:
        failed = f"{estimator.id} failed: {one_line(error)}"
    if len(raws) == 1:
        return {raws[0].pair_id: failed}
    return {pair_id: estimate for one in raws for pair_id, estimate in _estimates(estimator, [one]).items()}


def _fault(estimate: DepthEstimate, image: NDArray[np.uint8], min_valid: float) -> str | None:
    """What is wrong with a map; None if it is one of this picture."""
    depth, size = estimate.depth, (image.shape[1], image.shape[0])
    if depth.size != size:
        (w, h), (width, height) = depth.size, size
        return f"depth of {depth.source} is {w}x{h} but the picture is {width}x{height}"
    known = int(depth.valid.sum())
    if known == 0:
        return f"depth of {depth.source} is known for none of the {depth.values.size} pixels"
    if known < min_valid * depth.values.size:
        share = known / depth.values.size
        return f"depth of {depth.source} is known for {share:.2%} of the pixels; wanted at least {min_valid:.2%}"
    return None


def _rows(picture: _Picture, estimate: DepthEstimate, licence: str, config: PairsConfig) -> Iterator[Row]:
    """The row of a pair, and those of its augmented copies if it may be trained on."""
    raw = picture.raw
    pair = Pair(raw.pair_id, raw.scene_id, raw.image, estimate.depth, estimate.camera)
    split = "test" if place_of(pair.scene_id or pair.pair_id, config.seed) < config.test_share else "train"
    common: dict[str, Any] = {
        "licence": licence,
        "camera_estimated": estimate.camera_estimated,
        "phash": picture.phash,
        "split": split,
    }
    yield row_of(pair, raw.encoded or picture_bytes(raw.image, config.quality), **common)
    for number in range(1, config.copies + 1 if split == "train" else 1):
        changed, applied = augment(pair, _chance(config.seed, pair.pair_id, number), config.augment)
        if _fault(replace(estimate, depth=changed.depth), changed.image, config.min_valid) is None:
            changed = replace(changed, pair_id=f"{pair.pair_id}#{number}")
            encoded = picture_bytes(changed.image, config.quality)
            note = json.dumps(applied.to_dict(), sort_keys=True)
            yield row_of(changed, encoded, **common, copy=number, augmentation=note)


def _chance(seed: int, pair_id: str, number: int) -> np.random.Generator:
    """The same for the same pair, whoever builds it and when."""
    digest = hashlib.blake2b(f"{seed}\0{pair_id}\0{number}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _estimator(config: PairsConfig) -> DepthEstimator:
    try:
        return _loaded(config.estimator, config.device, config.dtype, config.revision, config.kind, config.batch_size)
    except Exception as error:
        raise _EstimatorError(one_line(error)) from error


@lru_cache(maxsize=1)
def _loaded(
    source: str, device: str | None, dtype: str, revision: str | None, kind: Any, batch_size: int | None
) -> DepthEstimator:
    """One estimator a process, loaded when the first picture needs it."""
    if batch_size is None:
        import torch

        batch_size = 2 if device == "cpu" or (device is None and not torch.cuda.is_available()) else 8
    return load_estimator(source, device=device, dtype=dtype, revision=revision, kind=kind, batch_size=batch_size)
