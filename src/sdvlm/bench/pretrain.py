"""What pre-training a depth encoder brings and costs: with reconstruction and without, RGB features cached or not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sdvlm.bench.timing import alternate, ratio
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.fusion.rgb_tower import RgbTower, load_rgb_tower
from sdvlm.nano import NANO_FOLDER
from sdvlm.pairs.build import build_pairs
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.source import open_source
from sdvlm.pretrain.align import Alignment
from sdvlm.pretrain.batches import batch_at
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.data import RunData, open_data
from sdvlm.pretrain.optimise import make_optimizer
from sdvlm.pretrain.pictures import Preparation, Samples
from sdvlm.pretrain.result import PretrainResult
from sdvlm.pretrain.run import pretrain
from sdvlm.pretrain.teacher import Teacher
from sdvlm.scenes.room_dataset import RoomDataset, write_rooms

__all__ = ["RECIPE", "bench_pretrain"]

RECIPE = PretrainConfig(
    batch=128, chunk=128, lr=2e-3, tower_lr=3e-4, dtype="bfloat16", reconstruction_share=0.25, embedding=256, pool=3,
    device="cpu", tensorboard=False,
)  # fmt: skip
"""what a tower of a few million parameters learns with in minutes on one core; larger ones keep the defaults"""
_FIGURES = (
    "depth_to_rgb_r1", "depth_to_rgb_r5", "rgb_to_depth_r1", "rgb_to_depth_r5", "trunk_r2", "trunk_scale_r2",
    "embedding_r2", "embedding_scale_r2", "effective_rank_trunk", "effective_rank_embedding",
)  # fmt: skip
_TIMED = 32
"""pairs of a timed step"""


def bench_pretrain(
    data: str | None = None, scenes: int = 610, steps: int = 250, repeats: int = 3, seed: int = 0
) -> dict[str, Any]:
    """Train the shipped model's vision tower on pairs of procedural rooms, once with each objective.

    Args:
        data: folder of ``sdvlm pairs`` with at least 1,000 held-out pairs; default: rooms are drawn.
        scenes: rooms drawn, eight pictures each, about a fifth of them held out.
        steps: optimiser steps of each run.
        repeats: timed turns of the comparison with and without cached RGB features.
        seed: of the runs.

    Returns:
        ``objectives``: figures before, after the default objective and after InfoNCE alone, on held-out rooms;
        ``times_chance``: R@1 of the default objective over chance, the worse of both directions;
        ``speed``: pairs a second with cached RGB features and without.
    """
    config = replace(RECIPE, rgb=str(NANO_FOLDER), steps=steps, seed=seed, eval_every=steps)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pairs = Path(data) if data is not None else _room_pairs(work, scenes)
        cache = work / "cache"
        runs = {
            name: pretrain(pairs, work / name, replace(config, objective=name), cache_folder=cache)
            for name in ("default", "infonce")
        }
        speed = _speed(pairs, config, cache, repeats)
    default = runs["default"]
    worse = min(default.final["depth_to_rgb_r1"], default.final["rgb_to_depth_r1"])
    return {
        "objectives": _rows(runs),
        "times_chance": round(worse / default.final["retrieval_chance"], 1),
        "retrieval_chance": round(default.final["retrieval_chance"], 6),
        "retrieval_pairs": int(default.final["retrieval_pairs"]),
        "rgb_tower": {name: round(value, 4) for name, value in default.rgb.items()},
        "faults": {name: one.faults for name, one in runs.items()},
        "speed": speed,
        "data": default.data,
        "recipe": default.config | {"rgb": "nano"},
    }


def _rows(runs: dict[str, PretrainResult]) -> list[dict[str, Any]]:
    first = next(iter(runs.values()))
    rows = [{"objective": "none", "steps": 0} | _rounded(first.start)]
    for name, one in runs.items():
        row = {"objective": name, "steps": one.steps, "train_seconds": one.train_seconds}
        rows.append(row | _rounded(one.final))
    return rows


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(figures[name], 4) for name in _FIGURES if name in figures}


def _room_pairs(work: Path, scenes: int) -> Path:
    write_rooms(work / "rooms", RoomDataset(scenes=scenes, seed=77001, frames=8, image_size=(256, 192)))
    build_pairs(open_source(work / "rooms"), work / "pairs", PairsConfig(depth="sensor", test_share=0.21))
    return work / "pairs"


def _speed(pairs: Path, config: PretrainConfig, cache: Path, repeats: int) -> dict[str, Any]:
    """Steps of InfoNCE in turns, reading included: RGB features from disk, and RGB through the tower each time."""
    config = replace(config, batch=_TIMED, chunk=_TIMED)
    setups = {name: _setup(pairs, replace(config, cache=name == "cached"), cache) for name in ("cached", "uncached")}
    times: dict[str, dict[str, Any]] = {}
    for objective in ("default", "infonce"):
        steps = {
            name: partial(next, _steps(replace(config, objective=objective), *setup)) for name, setup in setups.items()
        }
        taken = alternate(steps, repeats)
        times[objective] = {
            f"{name}_pairs_per_second": round(_TIMED / timing.median, 2) for name, timing in taken.items()
        } | {"speedup": ratio(taken["uncached"], taken["cached"])}
    return times


def _setup(pairs: Path, config: PretrainConfig, cache: Path) -> tuple[RgbTower, Teacher, RunData]:
    rgb = load_rgb_tower(config.rgb)
    rgb.tower.set_attn_implementation("eager")
    teacher = Teacher(rgb, config.pool, "cpu", config.dtype)
    preparation = Preparation(DepthChannels(), rgb.image_processor, rgb.tower.config)
    return rgb, teacher, open_data(pairs, config, preparation, teacher, cache)


def _steps(config: PretrainConfig, rgb: RgbTower, teacher: Teacher, data: RunData) -> Iterator[None]:
    """Without end, one step each time."""
    encoder = DepthEncoder.from_rgb(rgb.tower, DepthChannels(), rgb.image_processor)
    encoder.layer = rgb.layer
    objective = Alignment(encoder, teacher, config, data.moments)
    optimizer = make_optimizer(objective.new_parts, objective.cloned_parts, 1e-4, 1e-5, 0.05)
    samples: Samples = data.train
    read: Callable[..., Any] = samples.chunks
    for batch in batch_at(samples.scene_ids, config.batch, config.seed, 0):
        with torch.random.fork_rng():
            objective.backward(list(read(batch, config.chunk)), 0.0)
        optimizer.step()
        optimizer.zero_grad()
        yield
