"""A fine-tuning run: data and a model to a folder that ask, eval, serve and PEFT load; resumable at its checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PrinterCallback, ProgressCallback

from sdvlm.depth.atomic import atomic_file
from sdvlm.depth.cache import default_cache_folder
from sdvlm.extras import is_installed
from sdvlm.models.run_folder import load_weights_into, save_run
from sdvlm.train.config import TrainConfig
from sdvlm.train.log import SayCallback, tensorboard
from sdvlm.train.pooled_cache import PooledDepth
from sdvlm.train.recipe import config_from, to_yaml
from sdvlm.train.setup import Setup, set_up
from sdvlm.train.summary import Meter, write_summary
from sdvlm.train.tower_cache import attach, why_not
from sdvlm.train.trainer import DepthTrainer, last_checkpoint
from sdvlm.types import SdvlmError

__all__ = ["RECIPE", "TrainResult", "train"]

log = logging.getLogger(__name__)
RECIPE = "recipe.yaml"
Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Args:
        out: its folder.
        summary: as ``summary.json`` holds it.
        resumed: step it went on from; None: it began anew.
    """

    out: Path
    summary: dict[str, Any]
    resumed: int | None


def train(
    config: TrainConfig, out: Path, say: Say | None = None, *, resume: bool = True, cache: Path | None = None
) -> TrainResult:
    """Fine-tune a model.

    Args:
        config: of the run.
        out: its folder: the model, ``recipe.yaml``, ``summary.json``, ``checkpoints/``, ``tensorboard`` files.
        say: is told what goes on.
        resume: go on from the newest whole checkpoint.
        cache: folder of data stores and kept features; default: the user's cache.

    Raises:
        SdvlmError: bad data or settings, or another run in ``out``.
    """
    tell = say or (lambda _: None)
    setup = set_up(config, out, tell, cache)
    if setup.args.should_save:
        _claim(out, config)
    checkpoint = last_checkpoint(out / "checkpoints") if resume else None
    meter = Meter(setup.model, setup.groups)
    trainer = _trainer(setup, meter, out, tell)
    with _kept_features(setup, tell, cache):
        if checkpoint is not None:
            tell(f"going on from {checkpoint.name}")
        outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        heldout = _last_evaluation(trainer)
    trainer.save_model(str(out))
    summary = meter.finish(outcome, heldout, trainer.state)
    if setup.args.should_save:
        write_summary(out, summary)
    return TrainResult(out, summary, None if checkpoint is None else int(checkpoint.name.split("-")[1]))


def _trainer(setup: Setup, meter: Meter, out: Path, say: Say) -> DepthTrainer:
    def save(folder: Path, state: dict[str, Tensor] | None) -> None:
        save_run(folder, setup.model, setup.processor, setup.base, state)

    callbacks: list[Any] = [SayCallback(say)]
    if "report_to" not in setup.config.arguments and setup.args.should_save and is_installed("tensorboard"):
        callbacks.append(tensorboard(out / "tensorboard"))
    try:
        trainer = DepthTrainer(
            setup.model,
            setup.args,
            setup.config,
            setup.encoder,
            setup.train,
            setup.heldout,
            save,
            lambda folder: load_weights_into(setup.model, folder),
            meter,
            callbacks=callbacks,
        )
    except (ImportError, RuntimeError, ValueError) as error:
        raise SdvlmError(f"transformers refuses the arguments: {' '.join(str(error).split())}") from error
    for printing in (PrinterCallback, ProgressCallback):  # to stdout, which is for results
        trainer.remove_callback(printing)
    return trainer


def _last_evaluation(trainer: DepthTrainer) -> dict[str, float]:
    """Losses of held-out answers at the end; evaluated now unless the last step was."""
    state = trainer.state
    for logged in reversed(state.log_history):
        if logged.get("step") == state.global_step and "eval_loss" in logged:
            return {name: value for name, value in logged.items() if name.startswith("eval_")}
    return trainer.evaluate()


def _kept_features(setup: Setup, say: Say, cache: Path | None) -> Any:
    """The tower's features and the pooled depth on disk while the run lasts, where that is wanted and can be."""
    if not setup.config.cache_features:
        return nullcontext()
    reason = why_not(setup.model)
    if reason is not None:
        say(f"features are not kept: {reason}")
        return nullcontext()
    folder = cache or default_cache_folder("train")
    setup.processor.placer.pack = PooledDepth(folder / "depth").pack
    return attach(setup.model, folder / "features", setup.config.cache_gb)


def _claim(out: Path, config: TrainConfig) -> None:
    """Write what the run is, or check that the folder holds the same run. One that came to no checkpoint gives way.

    Raises:
        SdvlmError: it holds another.
    """
    import yaml

    path = out / RECIPE
    out.mkdir(parents=True, exist_ok=True)
    begun = last_checkpoint(out / "checkpoints") is not None or (out / "config.json").is_file()
    if path.is_file() and begun:
        kept = config_from(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
        if kept != config:
            other = [one.name for one in fields(config) if getattr(kept, one.name) != getattr(config, one.name)]
            raise SdvlmError(
                f"{out} holds a run with other settings ({', '.join(other)} in {RECIPE}); "
                "give another folder or those settings"
            )
        return
    if begun:
        raise SdvlmError(f"{out} holds a model or checkpoints but no {RECIPE} that says of what; give another folder")
    with atomic_file(path) as stream:
        stream.write(to_yaml(config).encode())
