"""One cell and seed: a fresh fusion on the common start, trained, asked, and written down."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from sdvlm.ablation.cells import Cell
from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.draw import Draws
from sdvlm.ablation.exam import ARMS, sit
from sdvlm.ablation.learn import Learner
from sdvlm.ablation.materials import Materials, open_materials
from sdvlm.ablation.prefix import PrefixMaker
from sdvlm.fusion.config import FusionConfig
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM

__all__ = ["CellJob", "fresh_learner", "run_cell", "settings_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellJob:
    """What a worker needs to run a cell.

    Args:
        out: prepared folder.
        config: of the ablation.
        model: folder of the start; None: the shipped nano.
        cell: what to train.
        seed: of the fresh fusion and of the order of the data.
        encoder: folder of the pre-trained depth encoder, where the cell has one.
    """

    out: Path
    config: AblationConfig
    model: Path | None
    cell: Cell
    seed: int
    encoder: Path | None = None


def settings_of(cell: Cell) -> FusionConfig | None:
    """How depth enters in a cell."""
    return None if cell.fusion is None else replace(FusionConfig.preset(cell.fusion), **dict(cell.settings))


def fresh_learner(materials: Materials, cell: Cell, seed: int, encoder: Path | None = None) -> Learner:
    """A learner at its first step."""
    config = materials.config
    vlm, hf_processor = materials.start()
    torch.manual_seed(1000 * config.seed + seed + 1)
    given: dict[str, Any] = {} if encoder is None else {"depth_encoder": encoder}
    model = DepthVLM.from_vlm(vlm, settings_of(cell), **given)
    processor = DepthProcessor.for_model(model, hf_processor)
    source = None if cell.fusion is None else materials.source("train", cell.depth, cell.noise_m)
    maker = PrefixMaker(model, processor, materials.train, source, materials.features)
    draws = Draws(materials.train.questions, config, (1, seed))
    return Learner(maker, draws, config, config.lr, config.steps)


def run_cell(job: CellJob) -> dict[str, Any]:
    """Train and ask. Plain JSON values: loss, seconds a step, what the fusion adds, answers of each arm."""
    materials = _materials(job.out, job.config, job.model)
    learner = fresh_learner(materials, job.cell, job.seed, job.encoder)
    name = f"{job.cell.name} seed {job.seed}"
    trained = learner.train(lambda step, steps, loss: log.info("%s: %d/%d loss %.3f", name, step, steps, loss))
    maker = learner.maker
    model, processor = maker.model.train(False), maker.processor
    source = None if job.cell.fusion is None else materials.source("exam", job.cell.depth, job.cell.noise_m)
    arms = ARMS if source is not None else ARMS[:2]
    sittings = {arm: sit(model, processor, materials.exam, source, arm, job.config) for arm in arms}
    return {
        "cell": job.cell.name,
        "seed": job.seed,
        "fusion": model.config.fusion,
        "loss": trained.loss,
        "seconds_per_step": trained.seconds_per_step,
        "extra_tokens": extra_tokens(maker),
        "parameters": 0 if model.fusion is None else sum(one.numel() for one in model.fusion.parameters()),
        "arms": {arm: sitting.to_dict() for arm, sitting in sittings.items()},
    }


def extra_tokens(maker: PrefixMaker) -> int:
    """Tokens that depth adds to the prompt of a picture; the first one, where the number varies."""
    plain = len(maker.frame(None)[0])
    return 0 if maker.source is None else len(maker.frame(maker.source.map(0))[0]) - plain


@lru_cache(maxsize=1)
def _materials(out: Path, config: AblationConfig, model: Path | None) -> Materials:
    """Read once a process."""
    return open_materials(out, config, model)
