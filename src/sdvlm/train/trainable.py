"""What trains: groups of modules by their place in the model, each with its learning rate.

Groups are found by module path, never by the last word of a name: the linear layers of a vision tower are called like
those of a language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import nn

from sdvlm.fusion.towers import find_tower
from sdvlm.models.adapters import add_lora
from sdvlm.models.families import family_of
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.config import LearningRates, TrainConfig
from sdvlm.types import SdvlmError

__all__ = ["GROUPS", "Group", "group_of", "optimizer_groups", "prepare_groups", "projector_path", "trained_groups"]

GROUPS = tuple(one.name for one in fields(LearningRates))
"""language_model, projector, fusion, vision_tower"""


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that are trained alike.

    Args:
        name: one of ``GROUPS``.
        lr: peak learning rate.
        names: of the parameters, in the ``DepthVLM``.
        parameters: in the same order.
    """

    name: str
    lr: float
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...] = field(repr=False)


def prepare_groups(model: DepthVLM, config: TrainConfig) -> list[Group]:
    """Freeze everything, add adapters, and set free what has a learning rate; what trains is float32 from then on.

    Raises:
        SdvlmError: nothing would be trained.
    """
    lr = config.lr
    model.requires_grad_(False)
    if config.lora is not None and lr.language_model:
        lora = config.lora
        add_lora(model, lora.r, lora.alpha, lora.dropout, _whole_modules(model.vlm, lr))
    places = _places(model)
    for name, parameter in model.named_parameters():
        where = _group(places, name)
        adapted = where == "language_model" and config.lora is not None
        if not adapted and parameter.is_floating_point():
            parameter.requires_grad_(bool(getattr(lr, where)))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    groups = trained_groups(model, lr)
    if not groups:
        raise SdvlmError("nothing would be trained: every learning rate is 0, or belongs to a group without weights")
    return groups


def trained_groups(model: DepthVLM, lr: LearningRates) -> list[Group]:
    """The parameters that require a gradient, by group; groups without any are left out."""
    found: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in GROUPS}
    places = _places(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[_group(places, name)].append((name, parameter))
    return [
        Group(name, getattr(lr, name), tuple(n for n, _ in members), tuple(p for _, p in members))
        for name, members in found.items()
        if members
    ]


def optimizer_groups(groups: Sequence[Group], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of an optimiser: decay for matrices, none for biases, norms and single numbers."""
    out = []
    for group in groups:
        for decays in (True, False):
            chosen = [one for one in group.parameters if (one.ndim > 1) == decays]
            if chosen:
                decay = weight_decay if decays else 0.0
                out.append({"params": chosen, "lr": group.lr, "weight_decay": decay, "name": group.name})
    return out


def group_of(model: DepthVLM, name: str) -> str:
    """The group of a parameter of the model, by its path."""
    return _group(_places(model), name)


def _places(model: DepthVLM) -> list[tuple[str, str]]:
    """What paths begin with, and their groups; the first that fits holds, and what is left is of the vision tower."""
    vlm: Any = model.vlm
    head = vlm.get_output_embeddings()
    language = [_path(vlm, one) for one in (vlm.get_decoder(), head) if one is not None]
    paths = [("fusion", "fusion"), (f"vlm.{projector_path(vlm)}", "projector")]
    return [(f"{path}.", group) for path, group in [*paths, *((f"vlm.{one}", "language_model") for one in language)]]


def _group(places: Sequence[tuple[str, str]], name: str) -> str:
    return next((group for start, group in places if name.startswith(start)), "vision_tower")


def projector_path(vlm: Any) -> str:
    """Path, in the vision-language model, of the module between its vision tower and its language model."""
    host, between = _path(vlm, vlm.base_model), family_of(vlm.config).between
    return f"{host}.{between}" if host else between


def _whole_modules(vlm: Any, lr: LearningRates) -> list[str]:
    """Modules that are trained in full beside adapters, none inside another."""
    projector = projector_path(vlm)
    tower = _path(vlm, find_tower(vlm.base_model)) if lr.vision_tower else None
    inside = tower is not None and projector.startswith(f"{tower}.")
    return ([projector] if lr.projector and not inside else []) + ([] if tower is None else [tower])


def _path(root: nn.Module, wanted: nn.Module) -> str:
    path: str = next(name for name, module in root.named_modules() if module is wanted)
    return path
