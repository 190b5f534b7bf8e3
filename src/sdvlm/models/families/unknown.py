"""A family nobody has stated: its three facts guessed from the model itself, and proven before they are used.

*Views* are measured (``families.measured``). *Cells* follow from the patch size the config states and from how many
rows modules put out. *Source* is looked for among the modules that put out one row a cell, the last one first. A guess
holds if the boxes it gives (``models.skeleton``) are as many as the image tokens, and if pictures that differ in some
bands alone move the tokens whose boxes lie there and no others, on a random model whose tower mixes nothing.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import nn
from transformers import PreTrainedConfig

from sdvlm.models.families.family import Boxes, Family, Size, Views, cut
from sdvlm.models.families.known import GUESSED
from sdvlm.models.families.measured import BlankInputs, MeasuredViews
from sdvlm.models.families.proof import Call, Witness, bare_model
from sdvlm.models.skeleton import build_skeleton, probe
from sdvlm.types import SdvlmError

__all__ = ["guess_family"]

_SIZES: tuple[Size, ...] = ((320, 240), (210, 300))
_SIDES = range(1, 9)  # patches along the side of a token
_MOST_EXTRA = 8  # class token and registers of a view
_KEPT = 8
_GUESSES: OrderedDict[tuple[str, str, type], Family] = OrderedDict()


def guess_family(config: PreTrainedConfig, image_processor: Any, whole: Any = None) -> Family:
    """The facts about a model whose family is not known. Guessed once a model, then kept.

    Args:
        config: of the model.
        image_processor: the part of its processor that makes ``pixel_values``.
        whole: that processor, which may tell its image processor more than the latter's own settings say.

    Raises:
        SdvlmError: which of the facts could not be found, and how to give them.
    """
    key = (config.to_json_string(use_diff=False), str(image_processor.to_json_string()), type(whole))
    if key not in _GUESSES:
        _GUESSES[key] = _guess(config, image_processor, whole)
        if len(_GUESSES) > _KEPT:
            _GUESSES.popitem(last=False)
    GUESSED[config.model_type] = _GUESSES[key]
    return _GUESSES[key]


@dataclass(frozen=True)
class _Blocks:
    """``Family.cells``: squares of ``side`` x ``side`` patches, row by row, or in blocks of ``block`` x ``block``."""

    patch: int
    side: int = 1
    beyond: bool = False
    """whether the last ones may reach beyond the view"""
    block: int = 1

    def __call__(self, config: PreTrainedConfig, size: Size) -> Boxes:
        cell = self.patch * self.side
        whole = tuple(-(-length // cell) * cell for length in size) if self.beyond else size
        cells = cut((whole[0], whole[1]), cell)
        rows, columns = cells.shape[:2]
        blocks = cells.reshape(rows // self.block, self.block, columns // self.block, self.block, 4)
        return np.asarray(blocks.swapaxes(1, 2).reshape(-1, 4))


@dataclass(frozen=True)
class _Number:
    """``Family.merged`` and ``Family.width``: the same of every config."""

    value: int

    def __call__(self, config: PreTrainedConfig) -> int:
        return self.value


def _guess(config: PreTrainedConfig, image_processor: Any, whole: Any) -> Family:
    patch = _patch(config)
    seeing = MeasuredViews(patch, whole)
    try:
        views = [seeing(config, image_processor, size) for size in _SIZES]
    except Exception as error:  # whatever a stranger's processor raises
        raise _lacking(config, "views", _said(error)) from error
    facts = Family(seeing, _Blocks(patch), BlankInputs(), source="")
    try:
        model, witnesses = _watched(config, facts, seeing, image_processor, views)
    except Exception as error:
        raise _lacking(config, "source", f"get_image_features of a random model fails: {_said(error)}") from error
    seen = witnesses[0]
    facts = replace(facts, inputs=BlankInputs.of(model))
    alone = seen.entries == len(seen.views.transforms) == 1  # of tiles one cannot tell
    facts = replace(
        facts, nowhere=_newlines(model), per_picture=alone, tokens=seen.field, width=_Number(seen.tokens.shape[1])
    )
    skeleton = build_skeleton(config, facts)
    tried = 0
    for family in _candidates(facts, patch, seen):
        tried += 1
        if all(_proven(skeleton, family, config, one) for one in witnesses):
            return family
    if tried:
        raise _lacking(
            config, "source and cells", f"none of {tried} places and orders of cells shows where tokens look"
        )
    raise _lacking(config, "source", f"no module puts out a row for each {patch}x{patch} patch or a square of them")


def _watched(
    config: PreTrainedConfig, facts: Family, seeing: MeasuredViews, image_processor: Any, views: list[Views]
) -> tuple[Any, list[Witness]]:
    """A random model and what moves its tokens; its tower narrow where it can be."""
    for narrow in (True, False):
        try:
            model = bare_model(config, facts, narrow)
            return model, [Witness(model, seeing, image_processor, one) for one in views]
        except Exception:
            if not narrow:
                raise
    raise AssertionError


def _patch(config: PreTrainedConfig) -> int:
    stated = getattr(getattr(config, "vision_config", None), "patch_size", None)
    sides = {int(one) for one in (stated if isinstance(stated, list | tuple) else [stated]) if one}
    if len(sides) != 1:
        raise _lacking(config, "cells", f"its config states the patch_size {stated} in vision_config")
    return sides.pop()


def _newlines(model: Any) -> tuple[str, ...]:
    """Parameters of the model itself that may stand among its tokens."""
    width = model.config.get_text_config().hidden_size
    return tuple(name for name, one in model.named_parameters(recurse=False) if tuple(one.shape) == (width,))


def _candidates(facts: Family, patch: int, witness: Witness) -> Iterator[Family]:
    """Families that may be the one, the likelier first: cells straight from a module, late ones before early ones; then
    patches from one module and a later one that joins them."""
    sizes, calls = witness.views.sizes, witness.calls
    for call in reversed(calls):
        for side, beyond in itertools.product(_SIDES, (False, True)):
            cells = _Blocks(patch, side, beyond)
            rows = _rows(call, [_count(cells, size) for size in sizes], extra=side == 1)
            if rows is None or (beyond and all(length % (patch * side) == 0 for size in sizes for length in size)):
                continue
            for block in (1, 2, 3, 4) if side == 1 else (1,):
                if _whole(cells, sizes, block):
                    yield replace(
                        facts, source=call.path, rows=rows, cells=replace(cells, block=block), merged=_Number(side**2)
                    )
    cells = _Blocks(patch)
    for last, late in enumerate(calls):
        for early in reversed([one for one in calls[:last] if not one.path.startswith(f"{late.path}.")]):
            rows = _rows(early, [_count(cells, size) for size in sizes], extra=False)
            for side in (2, 3, 4):
                if rows is None or early.rows != late.rows * side**2 or late.given != early.rows:
                    continue
                for block in (side, 1):
                    if _whole(cells, sizes, block):
                        joined = replace(facts, source=early.path, merge=late.path, merged=_Number(side**2))
                        yield replace(joined, rows=rows, cells=replace(cells, block=block))


def _count(cells: _Blocks, size: Size) -> int:
    return len(replace(cells, block=1)(PreTrainedConfig(), size))


def _whole(cells: _Blocks, sizes: list[Size], block: int) -> bool:
    """Whether views hold a whole number of blocks."""
    return all(length // cells.patch % block == 0 for size in sizes for length in size)


def _rows(call: Call, counts: list[int], extra: bool) -> Literal["views", "flat", "calls"] | None:
    """How a module puts out the cells of views, of which there are ``counts``; None: it does not."""
    views, rows = len(counts), call.rows
    if call.shape[0] == views and len(call.shape) > 2:
        spare = rows // views - counts[0]
        fits = len(set(counts)) == 1 and rows % views == 0 and 0 <= spare <= (_MOST_EXTRA if extra else 0)
        return "views" if fits else None
    if rows == sum(counts):
        return "flat"
    return "calls" if call.times == views > 1 and rows == counts[0] else None


def _proven(skeleton: nn.Module, family: Family, config: PreTrainedConfig, witness: Witness) -> bool:
    """Whether the boxes a family gives are where the tokens look."""
    views = witness.views
    cells = [one.boxes_to_source(family.cells(config, one.target_size)) for one in views.transforms]
    paths = [path for path in (family.source, family.merge) if path]
    if not set(paths) <= {path for path, _ in skeleton.named_modules()}:  # it has fewer layers
        return False
    before = {path: skeleton.get_submodule(path).__dict__.get("forward") for path in paths}
    try:
        boxes = probe(skeleton, family, family.inputs(config, views), cells)
    except Exception:  # boxes are no features: much of a model's code refuses them, and this place is not the one
        return False
    finally:
        for path, forward in before.items():
            module = skeleton.get_submodule(path)
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.forward = forward
    return witness.says(boxes)


def _lacking(config: PreTrainedConfig, fact: str, why: str) -> SdvlmError:
    return SdvlmError(
        f"where the image tokens of '{config.model_type}' look is not known, and probing found no {fact} ({why}); "
        f"give them with sdvlm.models.families.register_family('{config.model_type}', Family(...)) (docs/families.md)"
    )


def _said(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
