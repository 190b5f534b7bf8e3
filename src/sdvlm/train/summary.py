"""Counts what a run learns from while it goes, and sums it up at the end.

Rates are of the batches after the first, which compiles and fills caches, up to the last but one, behind which
evaluation and saving begin; without those in between where the trainer says so (:meth:`Meter.resting`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import distributed

from sdvlm.fusion.towers import find_tower
from sdvlm.machine import hardware, peak_memory_mb, versions
from sdvlm.train.batch_facts import BatchFacts, batch_facts
from sdvlm.train.flops import peak_flops, step_flops
from sdvlm.train.run_summary import SUMMARY, RunSummary, read_summary, write_summary
from sdvlm.train.trainable import Group

__all__ = ["SUMMARY", "Meter", "RunSummary", "read_summary", "write_summary"]

_PACKAGES = ("sdvlm", "torch", "transformers", "accelerate", "peft", "numpy")


class Meter:
    """Counts batches as they come, and sums up at the end.

    Args:
        model: a ``DepthVLM``, its groups prepared.
        groups: that train.
        clock: seconds, ever rising.
        warmup: batches at the start that no rate is measured of, where there are more.
    """

    def __init__(
        self, model: Any, groups: Sequence[Group], clock: Callable[[], float] = time.perf_counter, warmup: int = 1
    ) -> None:
        self.model, self.groups, self.warmup = model, groups, warmup
        self._clock = clock
        self._began: float | None = None
        self._rested = 0.0
        self._all, self._timed = _Tally(), _Tally()
        self._waiting: tuple[float, BatchFacts, bool] | None = None
        self._timed_seconds = 0.0
        self._batches = 0
        self._tower = find_tower(model.vlm.base_model)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def count(self, batch: Mapping[str, Any]) -> None:
        """A batch that is about to be learned from; the time until the next one is its own."""
        now = self._clock()
        self._close(now)
        facts = batch_facts(batch, self.model.config.vlm_config.vision_config)
        cached = "forward" in vars(self._tower)  # as an attached tower cache leaves it
        self._all.add(facts, cached)
        self._batches += 1
        self._waiting = (now, facts, cached)
        if self._began is None:
            self._began = now

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Around evaluations and saving: their time is in no rate."""
        start = self._clock()
        try:
            yield
        finally:
            self._rested += self._clock() - start

    def finish(
        self, outcome: Any = None, heldout: Mapping[str, float] | None = None, state: Any = None
    ) -> dict[str, Any]:
        """Sum up; on every process of a distributed run.

        Args:
            outcome: what ``Trainer.train`` returned; its ``global_step`` is taken.
            heldout: losses of the last evaluation.
            state: of the trainer; its ``log_history`` tells the losses.

        Returns:
            ``RunSummary.to_dict()``.
        """
        now = self._clock()
        if self._timed.empty:  # so short a run has but this one to tell of
            self._close(now, force=True)
        wall = 0.0 if self._began is None else now - self._began
        logged = [one["loss"] for one in getattr(state, "log_history", ()) if "loss" in one]
        timed, seconds = self._timed, self._timed_seconds
        sums = _over_processes([*self._all.counts(), *timed.counts()])
        seconds = max(_largest_over_processes(seconds), 1e-9)
        flops = timed.flops(self.model) / seconds
        machine = hardware()
        peak = peak_flops(machine["gpu"]) if machine["gpu"] else None
        on_gpu = self.model.device.type == "cuda"
        memory = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else peak_memory_mb() / 1024
        summary = RunSummary(
            steps=int(getattr(outcome, "global_step", 0) or self._batches),
            wall_seconds=wall,
            timed_seconds=seconds,
            images=sums[0],
            dialogues=sums[1],
            tokens=sums[2],
            learned_tokens=sums[3],
            images_per_second=sums[4] / seconds,
            dialogues_per_second=sums[5] / seconds,
            tokens_per_second=sums[6] / seconds,
            flops_per_second=flops,
            peak_flops=peak if on_gpu else None,
            utilisation=flops / peak if peak and on_gpu else None,
            peak_memory_gib=_largest_over_processes(memory),
            memory_of="gpu" if on_gpu else "process",
            loss_first=float(logged[0]) if logged else None,
            loss_last=float(logged[-1]) if logged else None,
            heldout={name: float(value) for name, value in (heldout or {}).items()},
            parameters=sum(one.numel() for one in self.model.parameters()),
            trained_parameters=sum(one.numel() for group in self.groups for one in group.parameters),
            processes=distributed.get_world_size() if _together() else 1,
            versions=versions(_PACKAGES),
            hardware=machine,
        )
        return summary.to_dict()

    def _close(self, now: float, force: bool = False) -> None:
        """The batch before this moment is done: its time counts, if it was not one of the first."""
        if self._waiting is None:
            return
        start, facts, cached = self._waiting
        if self._batches > self.warmup or force:
            self._timed.add(facts, cached)
            self._timed_seconds += now - start - self._rested
        self._waiting, self._rested = None, 0.0


class _Tally:
    """Sums of batches that take the same way through the model; FLOPs are linear in them."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[bool, bool, bool], BatchFacts] = {}
        self.grids: dict[tuple[bool, bool, bool], Counter[tuple[int, int]]] = {}

    @property
    def empty(self) -> bool:
        return not self.kinds

    def add(self, facts: BatchFacts, cached: bool) -> None:
        key = (facts.images > 0, facts.reads_depth, cached)
        self.grids.setdefault(key, Counter()).update(facts.grids)
        old = self.kinds.get(key)
        names = ("rows", "tokens", "learned", "pairs", "dialogues", "depth_tokens")
        more = {} if old is None else {name: getattr(old, name) + getattr(facts, name) for name in names}
        self.kinds[key] = replace(facts, grids=(), **more)

    def counts(self) -> tuple[int, int, int, int]:
        """Images, dialogues, tokens, learned tokens."""
        images = sum(sum(one.values()) for one in self.grids.values())
        facts = self.kinds.values()
        return images, sum(f.dialogues for f in facts), sum(f.tokens for f in facts), sum(f.learned for f in facts)

    def flops(self, model: Any) -> float:
        total = 0.0
        for key, facts in self.kinds.items():
            total += step_flops(model, replace(facts, grids=tuple(self.grids[key].elements())), key[2])
        return total


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _over_processes(values: Sequence[int]) -> list[int]:
    if not _together():
        return list(values)
    total = torch.tensor(values, dtype=torch.int64, device=_meeting_place())
    distributed.all_reduce(total)
    return [int(one) for one in total]


def _largest_over_processes(value: float) -> float:
    if not _together():
        return value
    most = torch.tensor(value, dtype=torch.float64, device=_meeting_place())
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return float(most)


def _meeting_place() -> str:
    return "cuda" if "nccl" in str(distributed.get_backend()) else "cpu"
