"""What a run looks at before its first step: what trains, one sample with its loss mask, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdvlm.models.processor import DepthProcessor
from sdvlm.train.batch_problems import batch_problems, check_batch
from sdvlm.train.group_table import FROZEN, GroupRow, describe_groups
from sdvlm.train.sample_text import decoded_sample, marked
from sdvlm.train.trainable import Group

__all__ = ["FROZEN", "GroupRow", "Preflight", "check_batch", "decoded_sample", "describe_groups", "marked", "preflight"]


@dataclass(frozen=True)
class Preflight:
    """What ``sdvlm train --dry-run`` shows.

    Args:
        groups: what trains and what does not.
        sample: a row as runs of text, learned or not.
        problems: one line each; empty where training may begin.
    """

    groups: tuple[GroupRow, ...]
    sample: tuple[tuple[str, bool], ...]
    problems: tuple[str, ...]

    @property
    def trained(self) -> int:
        """Parameters that train."""
        return sum(one.parameters for one in self.groups if one.name != FROZEN)

    @property
    def share(self) -> float:
        """Those as a share of all."""
        return self.trained / max(1, sum(one.parameters for one in self.groups))

    def table(self) -> list[str]:
        """The groups as lines of text in columns."""
        head = ("group", "parameters", "tensors", "rate", "modules")
        lines = [
            (
                one.name,
                f"{one.parameters:,}",
                f"{one.tensors:,}",
                f"{one.lr:g}" if one.lr else "-",
                ", ".join(one.paths),
            )
            for one in self.groups
        ]
        wide = [max(len(line[column]) for line in (head, *lines)) for column in range(4)]
        return [
            f"{a:<{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}  {e}" for a, b, c, d, e in (head, *lines)
        ]


def preflight(
    model: Any, groups: Sequence[Group], batch: Mapping[str, Any], processor: DepthProcessor, row: int = 0
) -> Preflight:
    """Look, and change nothing.

    Args:
        model: a ``DepthVLM`` with its groups prepared.
        groups: of ``trainable.trained_groups``.
        batch: a first one, as ``train.encode`` makes it.
        processor: of the model.
        row: of the batch, to show.
    """
    return Preflight(
        tuple(describe_groups(model, groups)),
        tuple(decoded_sample(batch, processor.tokenizer, row)),
        tuple(batch_problems(batch, processor)),
    )
