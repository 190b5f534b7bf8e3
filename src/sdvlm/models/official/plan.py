"""Which tensor of an official checkpoint becomes which stock one; nothing may be missing or left over.

LLaVA's language model keeps Llama's names, with ``model.`` where transformers has ``model.language_model.``; the
projector is a list of layers; CLIP lies two prefixes deep; ``depth.*`` is Depth Anything V2 (``depth_network``).
``depth_projector.*`` is never used by the released code and is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, LlavaConfig
from transformers import LlavaForConditionalGeneration as Llava

from sdvlm.models.checkpoint import check_complete
from sdvlm.models.official.depth_network import depth_config, depth_source
from sdvlm.models.official.language import llava_config
from sdvlm.models.official.layout import OfficialFolder
from sdvlm.models.official.tensors import Tensors
from sdvlm.models.official.vision import CARRIED, Tower, find_tower

__all__ = ["Move", "Plan", "make_plan"]

_DEPTH = "depth."
_RENAMED = {
    "model.language_model.": "model.",
    "model.multi_modal_projector.linear_1.": "model.mm_projector.0.",
    "model.multi_modal_projector.linear_2.": "model.mm_projector.2.",
}
_TOWER = "model.vision_tower."
_DROPPED = re.compile(r"depth_projector\..+")
_COMPUTED = re.compile(r".+\.(?:rotary_emb\.inv_freq|embeddings\.position_ids)")
"""buffers that older releases saved and that follow from the config"""


@dataclass(frozen=True)
class Move:
    """One stock tensor and where it comes from.

    Args:
        target: stock name, within the vision-language model or the depth network.
        source: what ``name`` is read from.
        name: there.
        rows: that part of it; None: all.
        shape: of the target.
    """

    target: str
    source: Tensors
    name: str
    rows: tuple[int, int] | None
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """As stored."""
        return self.source.stored[self.name].dtype

    def read(self) -> Tensor:
        """The tensor; it may be a view into a mapped file, so do not write to it."""
        whole = self.source.read(self.name)
        return whole if self.rows is None else whole[self.rows[0] : self.rows[1]]

    def fits(self) -> bool:
        """Whether what is stored has the target's shape, stacked parts counted whole."""
        stored = self.source.stored[self.name].shape
        parts = 1 if self.rows is None else 3
        return stored == (parts * self.shape[0], *self.shape[1:])


@dataclass(frozen=True)
class Plan:
    """All that an official checkpoint becomes.

    Args:
        vlm_config: of the LLaVA model; its image token is not chosen yet.
        tower: its CLIP.
        vlm: of the LLaVA model.
        depth_config: of the depth network; None where the checkpoint has none.
        depth: of the depth network.
        notes: what a user should know, a sentence each.
    """

    vlm_config: LlavaConfig
    tower: Tower
    vlm: list[Move]
    depth_config: DepthAnythingConfig | None
    depth: list[Move]
    notes: list[str]


def make_plan(official: OfficialFolder, **hub: Any) -> Plan:
    """Match a checkpoint's tensors to the stock classes.

    Raises:
        SdvlmError: tensors missing, left over or of another shape, listed by their released names; or sizes that
            cannot be had.
    """
    tower = find_tower(official, **hub)
    config = llava_config(official.config, tower.config)
    shapes = {n.removeprefix(_DEPTH): k.shape for n, k in official.tensors.stored.items() if n.startswith(_DEPTH)}
    depth = depth_config(shapes, official.told_depth) if shapes else None
    with torch.device("meta"):
        vlm = [_vlm_move(official, tower, name, tuple(p.shape)) for name, p in Llava(config).named_parameters()]
        inner = [] if depth is None else DepthAnythingForDepthEstimation(depth).named_parameters()
    network = [_depth_move(official, name, tuple(parameter.shape)) for name, parameter in inner]
    dropped = _check(official, tower, [*vlm, *network])
    notes = [f"{len(dropped)} tensors depth_projector.* are left out: no released code uses them"] if dropped else []
    if depth is None:
        notes.append(_without_depth(official))
    order = {name: place for place, name in enumerate(official.tensors.stored)}  # as the files have them
    for moves in (vlm, network):
        moves.sort(key=lambda move: order.get(move.name, -1) if move.source is official.tensors else -1)
    return Plan(config, tower, vlm, depth, network, notes)


def _vlm_move(official: OfficialFolder, tower: Tower, name: str, shape: tuple[int, ...]) -> Move:
    if name.startswith(_TOWER):
        return Move(name, tower.tensors, tower.prefix + name.removeprefix(_TOWER), None, shape)
    for stock, released in _RENAMED.items():
        if name.startswith(stock):
            return Move(name, official.tensors, released + name.removeprefix(stock), None, shape)
    return Move(name, official.tensors, name, None, shape)


def _depth_move(official: OfficialFolder, name: str, shape: tuple[int, ...]) -> Move:
    released, rows = depth_source(name, shape)
    return Move(name, official.tensors, _DEPTH + released, rows, shape)


def _check(official: OfficialFolder, tower: Tower, moves: Iterable[Move]) -> list[str]:
    """Refuse what does not fit; the names that are dropped."""
    missing: list[str] = []
    misshapen: list[str] = []
    used = {"official": set[str](), "tower": set[str]()}
    for move in moves:
        used["official" if move.source is official.tensors else "tower"].add(move.name)
        if move.name not in move.source.stored:
            missing.append(move.name)
        elif not move.fits():
            misshapen.append(move.name)
    rest = [name for name in official.tensors.stored if name not in used["official"]]
    if tower.tensors is not official.tensors:
        rest = [name for name in rest if not name.startswith(CARRIED)]  # the copy that the released loader passes over
        within = (name for name in tower.tensors.stored if name.startswith(tower.prefix))
        rest += [name for name in within if name not in used["tower"]]
    dropped = [name for name in rest if _DROPPED.fullmatch(name)]
    left = [name for name in rest if not _DROPPED.fullmatch(name) and not _COMPUTED.fullmatch(name)]
    found = {
        "missing_keys": dict.fromkeys(missing),
        "unexpected_keys": left,
        "mismatched_keys": dict.fromkeys(misshapen),
    }
    check_complete(official.folder, found, most=20)
    return dropped


def _without_depth(official: OfficialFolder) -> str:
    """What to say of a checkpoint without ``depth.*``.

    Raises:
        SdvlmError: its config says that it has a depth network, and no adapter explains the lack.
    """
    if official.config.get("use_depth") and official.base is None:
        check_complete(official.folder, {"missing_keys": ["depth.*, the whole depth network"]})
    return "it brings no depth network (no tensor depth.*), so depth has to be given"
