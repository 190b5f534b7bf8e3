"""A pre-training run: RGB-D pairs and a frozen RGB tower to a depth encoder, resumable at its checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from sdvlm.depth.atomic import atomic_file
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.fusion.pixel_layout import is_packed
from sdvlm.fusion.rgb_tower import RgbTower, load_rgb_tower
from sdvlm.pretrain.align import Alignment
from sdvlm.pretrain.checkpoint import latest, load_checkpoint
from sdvlm.pretrain.comae_objective import CoMAEObjective
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.data import RunData, open_data
from sdvlm.pretrain.evaluate import Evaluation
from sdvlm.pretrain.log import RunLog
from sdvlm.pretrain.loop import Loop, Progress, State
from sdvlm.pretrain.objective import TrainedObjective
from sdvlm.pretrain.optimise import make_optimizer
from sdvlm.pretrain.pictures import Preparation
from sdvlm.pretrain.processes import process_group, rank, wait, world
from sdvlm.pretrain.result import RESULT, PretrainResult, read_result
from sdvlm.pretrain.teacher import Teacher
from sdvlm.types import SdvlmError

__all__ = ["pretrain"]

log = logging.getLogger(__name__)


def pretrain(
    data: Path,
    out: Path,
    config: PretrainConfig,
    progress: Progress | None = None,
    *,
    resume: bool = True,
    cache_folder: Path | None = None,
) -> PretrainResult:
    """Train a depth encoder.

    Args:
        data: folder that ``sdvlm pairs`` wrote, with a test split.
        out: of the run: ``encoder/``, ``projection.safetensors``, ``result.json``, ``metrics.jsonl``, ``checkpoints/``,
            ``tensorboard/``.
        config: settings; ``config.rgb`` names the RGB tower.
        progress: told what is going on, in the first process.
        resume: go on from the newest checkpoint in ``out``; a finished run is returned as it is.
        cache_folder: of RGB features; default ``rgb_cache.default_feature_folder``.

    Raises:
        SdvlmError: bad data or settings, a run in ``out`` that was started otherwise, or a loss that is not finite.
    """
    if not config.rgb:
        raise SdvlmError("no RGB tower is named; set rgb to a folder or hub id of a vision model")
    if not resume and (out / "checkpoints").exists():
        raise SdvlmError(f"{out}: holds a run already; give another folder, or leave out --no-resume to go on with it")
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    with process_group(device):
        return _run(data, out, config, progress if rank() == 0 else None, device, cache_folder)


def _run(
    data: Path, out: Path, config: PretrainConfig, progress: Progress | None, device: str, cache_folder: Path | None
) -> PretrainResult:
    rgb = load_rgb_tower(config.rgb)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = DepthEncoder.from_rgb(rgb.tower, DepthChannels(config.coordinate, config.extras), rgb.image_processor)
        encoder.layer = rgb.layer
        for tower in (rgb.tower, encoder.tower):
            if device == "cpu" and not is_packed(tower.config):
                tower.set_attn_implementation("eager")  # half the time of SDPA's CPU kernel, at a few hundred tokens
        rgb = RgbTower(rgb.tower, encoder.image_processor, rgb.layer)
        teacher = Teacher(rgb, config.pool, device, config.dtype)
        preparation = Preparation(encoder.channels, encoder.image_processor, rgb.tower.config)
        told = None if progress is None else lambda done, wanted: progress("cache", done, wanted, {})
        found = open_data(data, config, preparation, teacher, cache_folder, told)
        facts = _facts(config, found, teacher, encoder)
        done = _finished(out, facts)
        if done is not None:
            return done
        objective = _objective(encoder, teacher, config, found, device)
    optimizer = make_optimizer(
        objective.new_parts,
        objective.cloned_parts,
        config.lr,
        config.lr / 10 if config.tower_lr is None else config.tower_lr,
        config.weight_decay,
        objective.undecayed_parts,
    )
    state = _resumed(out, objective, optimizer, facts)
    writer = RunLog(out, state.step, config.tensorboard) if rank() == 0 else None
    evaluation = Evaluation(
        found.plain, found.test, objective.encode, objective.embed_rgb,
        config.eval_pairs, config.probe_pairs, config.chunk, config.seed,
    )  # fmt: skip
    loop = Loop(
        config, found.train, objective, optimizer, evaluation, writer, out / "checkpoints", facts, device, progress
    )
    if not state.rgb:
        state.rgb = evaluation.probes(teacher.features, with_rgb=True)
    loop.run(state)
    result = _result(out, config, found, state, objective)
    if writer is not None:
        writer.close()
        _write(out, objective, result)
    wait()
    return result


def _objective(
    encoder: DepthEncoder, teacher: Teacher, config: PretrainConfig, data: RunData, device: str
) -> TrainedObjective:
    if config.objective == "comae":
        return CoMAEObjective(encoder, teacher.tower, config, device)
    return Alignment(encoder, teacher, config, data.moments if config.centre else None, device)


def _facts(config: PretrainConfig, data: RunData, teacher: Teacher, encoder: DepthEncoder) -> dict[str, Any]:
    """What decides a run."""
    tower = teacher.made_from(encoder.image_processor)
    return {"config": config.decisive(), "data": data.facts, "tower": tower}


def _finished(out: Path, facts: dict[str, Any]) -> PretrainResult | None:
    """The result of a run in ``out`` that is done, if it is this one."""
    if not (out / RESULT).is_file():
        return None
    place = latest(out / "checkpoints")
    _check_facts(out, _kept_facts(place) if place is not None else None, facts)
    return read_result(out)


def _kept_facts(place: Path) -> dict[str, Any] | None:
    import json

    try:
        return dict(json.loads((place / "state.json").read_text(encoding="utf-8"))["state"]["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_facts(out: Path, kept: dict[str, Any] | None, facts: dict[str, Any]) -> None:
    if kept == facts or kept is None:
        return
    changed = [
        f"{part}.{name} is {facts[part].get(name)!r}, was {kept.get(part, {}).get(name)!r}"
        for part in facts
        for name in sorted({*facts[part], *kept.get(part, {})})
        if facts[part].get(name) != kept.get(part, {}).get(name)
    ]
    raise SdvlmError(f"{out}: holds a run that was started otherwise ({'; '.join(changed[:3])}); give another folder")


def _resumed(out: Path, objective: TrainedObjective, optimizer: torch.optim.Optimizer, facts: dict[str, Any]) -> State:
    place = latest(out / "checkpoints")
    if place is None:
        return State()
    _check_facts(out, _kept_facts(place), facts)
    _, kept = load_checkpoint(place, objective.parts, optimizer)
    log.info("going on from %s", place)
    return State(**kept["state"])


def _result(
    out: Path, config: PretrainConfig, data: RunData, state: State, objective: TrainedObjective
) -> PretrainResult:
    own = min(config.batch, len(data.train)) // world() * world()
    return PretrainResult(
        out=out,
        config=config.to_dict(),
        data=data.facts,
        steps=state.step,
        start=state.start,
        final=state.final,
        faults=state.faults,
        rgb=state.rgb,
        parameters=sum(one.numel() for one in objective.encoder().parameters()),
        train_seconds=round(state.seconds, 2),
        pairs_per_second=round(own * state.step / state.seconds, 2) if state.seconds else 0.0,
        cached_pairs=data.cached,
    )


def _write(out: Path, objective: TrainedObjective, result: PretrainResult) -> None:
    """Encoder and heads, the result last."""
    objective.encoder().save_pretrained(out / "encoder")
    others = {
        f"{part}.{name}": one.detach().cpu().contiguous().clone()
        for part, module in objective.parts.items()
        for name, one in module.state_dict().items()
        if part != "encoder" and not name.startswith("encoder.")
    }
    with atomic_file(out / "projection.safetensors") as stream:
        stream.write(save(others))
    result.write()
