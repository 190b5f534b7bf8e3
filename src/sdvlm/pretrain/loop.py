"""The steps of a run: batches to gradients, optimiser, evaluations and checkpoints, from any step on.

Every random draw of a step is seeded by (seed, step, process), and the learning rate follows from the step, so a run
that goes on from a checkpoint has the losses of one that was never interrupted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdvlm.pretrain.batches import batch_at
from sdvlm.pretrain.checkpoint import save_checkpoint
from sdvlm.pretrain.config import PretrainConfig
from sdvlm.pretrain.evaluate import Evaluation
from sdvlm.pretrain.log import RunLog
from sdvlm.pretrain.objective import TrainedObjective
from sdvlm.pretrain.optimise import schedule, set_rates
from sdvlm.pretrain.pictures import Chunk, Samples, chunk_of
from sdvlm.pretrain.processes import average_gradients, rank, world
from sdvlm.pretrain.watch import Watch, fault_of_loss
from sdvlm.types import SdvlmError

__all__ = ["Loop", "Progress", "State", "steps_of"]

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
"""called with what is being done ("train", "eval", "cache"), how far it is, how far it goes, and figures"""


@dataclass
class State:
    """What a run knows besides its weights; kept in its checkpoints.

    Args:
        step: optimiser steps done.
        start: figures of the first evaluation.
        final: of the last one.
        rgb: what the probes read from the frozen RGB tower.
        faults: what the watch said, when it said so first, by kind.
        seconds: spent on steps.
    """

    step: int = 0
    start: dict[str, float] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)
    rgb: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def steps_of(config: PretrainConfig, pairs: int) -> int:
    """Optimiser steps of a run on so many pairs."""
    if config.steps is not None:
        return config.steps
    return max(1, round(config.epochs * max(1, pairs // min(config.batch, pairs))))


@dataclass
class Loop:
    """One run's loop.

    Args:
        config: settings.
        samples: training pairs.
        objective: what is trained.
        optimizer: of its parts.
        evaluation: of it.
        log: of the run; None in processes that do not write.
        checkpoints: folder of them.
        facts: what a checkpoint must have been started with to be resumed; plain values.
        device: where the objective runs.
        progress: told what is going on.
    """

    config: PretrainConfig
    samples: Samples
    objective: TrainedObjective
    optimizer: torch.optim.Optimizer
    evaluation: Evaluation
    log: RunLog | None
    checkpoints: Path
    facts: dict[str, Any]
    device: str = "cpu"
    progress: Progress | None = None

    def run(self, state: State) -> State:
        """All steps from ``state.step`` on.

        Raises:
            SdvlmError: a loss is not finite, or all are zero; the last checkpoint stays.
        """
        total = steps_of(self.config, len(self.samples))
        every = self.config.eval_every or max(1, total // 10)
        keep_every = self.config.checkpoint_every or every
        if not state.start:
            self._evaluate(state, total)
        chunks = self._chunks(state.step)
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        for step in range(state.step, total):
            started = time.perf_counter()
            losses = self._step(step, total, next(chunks), parameters)
            state.seconds += time.perf_counter() - started
            state.step = step + 1
            if fault := fault_of_loss(losses, step):
                raise SdvlmError(f"{fault}; the last checkpoint is in {self.checkpoints}")
            self._tell("train", state.step, total, losses)
            if state.step % every == 0 or state.step == total:
                self._evaluate(state, total)
            if self.log is not None and (state.step % keep_every == 0 or state.step == total):
                self.save(state)
        return state

    def save(self, state: State) -> None:
        """A checkpoint of now."""
        kept = {"facts": self.facts, "state": vars(state)}
        save_checkpoint(
            self.checkpoints, state.step, self.objective.parts, self.optimizer, kept, self.config.keep_checkpoints
        )

    def _step(
        self, step: int, total: int, chunks: Sequence[Chunk], parameters: Sequence[nn.Parameter]
    ) -> dict[str, float]:
        factor = schedule(step, total, self.config.warmup)
        set_rates(self.optimizer, factor)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.random.fork_rng(), _training(self.objective.parts.values()):
            torch.manual_seed(((self.config.seed * 1_000_003 + step) * 1_009 + rank()) % 2**63)
            losses = self.objective.backward(chunks, step / total)
        average_gradients(parameters)
        norm = float(nn.utils.clip_grad_norm_(parameters, self.config.clip_norm))
        self.optimizer.step()
        self.objective.after_step()
        return losses | {"gradient_norm": norm, "lr": factor * self.config.lr}

    def _evaluate(self, state: State, total: int) -> None:
        figures = self.evaluation()
        if not state.start:
            state.start = figures
        state.final = figures
        for kind, line in Watch(state.start).faults(figures, state.step / total).items():
            if kind not in state.faults:
                log.warning("step %d: %s", state.step, line)
            state.faults.setdefault(kind, f"step {state.step}: {line}")
        self._tell("eval", state.step, total, figures)

    def _tell(self, kind: str, step: int, total: int, figures: dict[str, float]) -> None:
        if self.log is not None:
            self.log.write(kind, step, figures)
        if self.progress is not None:
            self.progress(kind, step, total, figures)

    def _chunks(self, first: int) -> Iterator[list[Chunk]]:
        """This process's batch of every step from ``first`` on, in chunks, read by the loader's processes."""
        keys = _Keys(self.samples.scene_ids, self.config, first, rank(), world())
        loader = torch.utils.data.DataLoader(
            self.samples,
            batch_sampler=keys,
            collate_fn=chunk_of,
            num_workers=self.config.workers,
            persistent_workers=False,
        )
        waiting: list[Chunk] = []
        for chunk in loader:
            waiting.append(chunk.to(self.device))
            if len(waiting) == keys.per_step:
                yield waiting
                waiting = []


class _Keys:
    """Keys of chunk after chunk, without end: (position, step) of the pairs this process has."""

    def __init__(self, scene_ids: Sequence[str], config: PretrainConfig, first: int, mine: int, of: int) -> None:
        self.scene_ids, self.config, self.first, self.mine, self.of = scene_ids, config, first, mine, of
        self.own = min(config.batch, len(scene_ids)) // of
        self.per_step = -(-self.own // config.chunk)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        config, step = self.config, self.first
        apart = config.false_negatives == "avoid"
        for batch in batch_at(self.scene_ids, config.batch, config.seed, step, apart):
            mine = [(position, step) for position in batch[: self.own * self.of][self.mine :: self.of]]
            for start in range(0, len(mine), config.chunk):
                yield mine[start : start + config.chunk]
            step += 1


class _training:
    """Modules in training mode inside, in evaluation mode after."""

    def __init__(self, modules: Any) -> None:
        self.modules = list(modules)

    def __enter__(self) -> None:
        for one in self.modules:
            one.train(True)

    def __exit__(self, *_: object) -> None:
        for one in self.modules:
            one.train(False)
