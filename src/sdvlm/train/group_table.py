"""What trains, as a table: groups, the modules they are in, how many weights, how fast."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sdvlm.train.trainable import Group

__all__ = ["FROZEN", "GroupRow", "describe_groups", "module_paths"]

FROZEN = "frozen"
"""name of the row of everything that does not train"""
_PARTS = re.compile(
    r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|modules_to_save|original_module)(\.default)?|\.base_layer"
)
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass(frozen=True)
class GroupRow:
    """One line of the table.

    Args:
        name: of the group.
        paths: modules, numbered layers as ``*``, siblings in braces: ``vlm.model.layers.*.mlp.{down,up}_proj``.
        tensors: how many weights there are.
        parameters: numbers in them.
        lr: peak learning rate; 0 for what is frozen.
    """

    name: str
    paths: tuple[str, ...]
    tensors: int
    parameters: int
    lr: float


def describe_groups(model: Any, groups: Sequence[Group]) -> list[GroupRow]:
    """A row for each group that trains, and one for all that is frozen.

    Args:
        model: a ``DepthVLM``.
        groups: of ``trainable.trained_groups``.
    """
    rows = [
        GroupRow(one.name, module_paths(one.names), len(one.names), sum(map(_count, one.parameters)), one.lr)
        for one in groups
    ]
    trained = {id(parameter) for one in groups for parameter in one.parameters}
    rest = {name: one for name, one in model.named_parameters() if id(one) not in trained}
    tops = tuple(sorted({".".join(name.split(".")[:-1][:3]) or name for name in rest}))
    return [*rows, GroupRow(FROZEN, tops, len(rest), sum(map(_count, rest.values())), 0.0)]


def module_paths(names: Iterable[str]) -> tuple[str, ...]:
    """The modules that weights belong to, adapters told with the layer they adapt, numbered layers as one."""
    modules = {_NUMBER.sub("*", _PARTS.sub("", name.rpartition(".")[0])) for name in names}
    by_parent: dict[str, list[str]] = {}
    for one in sorted(modules):
        parent, _, last = one.rpartition(".")
        by_parent.setdefault(parent, []).append(last)
    return tuple(
        f"{parent}.{_braced(children)}" if parent else _braced(children) for parent, children in by_parent.items()
    )


def _braced(names: list[str]) -> str:
    """Names as one, what they have in common before and after an underscore said once."""
    if len(names) == 1:
        return names[0]
    words = [one.split("_") for one in names]
    shortest = min(map(len, words))
    lead = next((n for n in range(shortest) if len({one[n] for one in words}) > 1), shortest - 1)
    tail = next((n for n in range(shortest - lead) if len({one[-1 - n] for one in words}) > 1), shortest - lead - 1)
    middle = ("_".join(one[lead : len(one) - tail]) for one in words)
    return "_".join([*words[0][:lead], "{" + ",".join(middle) + "}", *words[0][len(words[0]) - tail :]])


def _count(parameter: Any) -> int:
    return int(getattr(getattr(parameter, "quant_state", None), "shape", parameter.shape).numel())
