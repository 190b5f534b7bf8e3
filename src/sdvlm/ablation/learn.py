"""Training of a cell: AdamW on the answers, all questions of a picture behind one prefix, the tower frozen."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.draw import Drawn, Draws
from sdvlm.ablation.prefix import PrefixMaker
from sdvlm.ablation.rows import RowBatch, answer_losses, collate
from sdvlm.nano.optimise import make_optimizer, schedule
from sdvlm.nano.prefix_attention import register
from sdvlm.types import SdvlmError

__all__ = ["Learner", "Trained"]

_LAST = 50
"""steps whose mean loss is reported"""


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Args:
        loss: mean over the last steps, nats an answer token.
        seconds_per_step: median.
    """

    loss: float
    seconds_per_step: float


class Learner:
    """One model on its way.

    Args:
        maker: of its prefixes; brings the model.
        draws: what each step shows; None: steps are not taken here.
        config: of the ablation.
        lr: peak learning rate.
        steps: in all.
    """

    def __init__(self, maker: PrefixMaker, draws: Draws | None, config: AblationConfig, lr: float, steps: int) -> None:
        self.maker, self.draws, self.config, self.lr, self.steps = maker, draws, config, lr, steps
        model = maker.model
        self.vlm: Any = model.vlm
        self.vlm.requires_grad_(False)
        modules: list[nn.Module] = [self.vlm.model.multi_modal_projector, self.vlm.model.language_model]
        modules += [model.fusion] if model.fusion is not None else []
        for module in modules:
            module.requires_grad_(True)
        self.optimizer = make_optimizer(modules, lr, config.weight_decay)
        self.parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.vlm.model.language_model.set_attn_implementation(register())

    def loss(self, drawn: list[Drawn]) -> Tensor:
        """Mean cross-entropy of the answers' tokens."""
        maker, pad = self.maker, self.maker.processor.tokenizer.pad_token_id
        size = self.config.questions // self.config.buckets
        rows = maker.rows(drawn)
        batches: list[RowBatch] = [
            collate([row for of_picture in rows for row in of_picture[start : start + size]], pad)
            for start in range(0, self.config.questions, size)
        ]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            return answer_losses(self.vlm, maker.prefixes(drawn), batches).mean()

    def step(self, index: int) -> float:
        """One step; returns its loss.

        Raises:
            SdvlmError: the loss is not a number.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * schedule(index, self.steps, self.config.warmup)
        assert self.draws is not None
        loss = self.loss(self.draws.draw())
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        found = float(loss.detach())
        if not found < float("inf"):
            raise SdvlmError(f"the loss became {found} at step {index + 1}; lower the learning rate ({self.lr:g})")
        return found

    def train(self, progress: Callable[[int, int, float], None] | None = None) -> Trained:
        """All steps; the model is then as it was found, but trained: its own tower, its own attention."""
        losses, seconds = [], []
        for index in range(self.steps):
            started = time.perf_counter()
            losses.append(self.step(index))
            seconds.append(time.perf_counter() - started)
            if progress is not None and ((index + 1) % _LAST == 0 or index + 1 == self.steps):
                progress(index + 1, self.steps, statistics.fmean(losses[-_LAST:]))
        self.finish()
        return Trained(statistics.fmean(losses[-_LAST:]), statistics.median(seconds))

    def finish(self) -> None:
        """The model as anybody uses it."""
        self.maker.restore()
        self.vlm.model.language_model.set_attn_implementation("sdpa")
