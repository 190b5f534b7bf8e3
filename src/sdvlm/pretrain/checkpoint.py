"""Checkpoints of a training run: weights, optimiser and step, whole or not at all, without pickle.

A checkpoint is a folder ``step-00000500`` that is written under another name and renamed when it is complete, so one
that is there is whole. Random numbers need no place in it: every draw of a run is seeded by (seed, step).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sdvlm.types import SdvlmError

__all__ = ["latest", "load_checkpoint", "save_checkpoint"]

_FORMAT = "sdvlm-pretrain-1"


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write ``folder/step-NNNNNNNN`` and remove all but the newest ``keep``.

    Args:
        folder: of the run's checkpoints; made if needed.
        step: optimiser steps done.
        modules: whose weights and buffers are kept, by name.
        optimizer: whose state is kept; its parameter groups must be made the same way again before loading.
        state: plain JSON values, such as what the run was started with.
        keep: newest checkpoints kept, this one included.
    """
    place = folder / f"step-{step:08d}"
    temporary = folder / f".step-{step:08d}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        weights = {f"{name}.{key}": one for name, part in modules.items() for key, one in part.state_dict().items()}
        save_file(_plain(weights), temporary / "weights.safetensors")
        tensors, values = _flat(optimizer)
        save_file(_plain(tensors), temporary / "optimizer.safetensors")
        document = {"format": _FORMAT, "step": step, "optimizer": values, "state": dict(state)}
        (temporary / "state.json").write_text(json.dumps(document, indent=2, sort_keys=True), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        os.replace(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    found = _all(folder)
    return found[-1] if found else None


def load_checkpoint(
    place: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None = None
) -> tuple[int, dict[str, Any]]:
    """Put a checkpoint's weights and optimiser state back.

    Returns:
        steps done; the ``state`` it was saved with.

    Raises:
        SdvlmError: damaged, of another format, or of other modules.
    """
    try:
        document = json.loads((place / "state.json").read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise SdvlmError(f"{place}: is of format {document['format']!r}; this version reads {_FORMAT!r}")
        weights = load_file(place / "weights.safetensors")
        for name, module in modules.items():
            mine = {key[len(name) + 1 :]: one for key, one in weights.items() if key.startswith(f"{name}.")}
            module.load_state_dict(mine, strict=True)
        if optimizer is not None:
            _restore(optimizer, load_file(place / "optimizer.safetensors"), document["optimizer"])
        return int(document["step"]), dict(document["state"])
    except SdvlmError:
        raise
    except Exception as error:  # safetensors, torch and JSON each raise their own
        why = " ".join(str(error).split())[:200]
        raise SdvlmError(
            f"{place}: cannot be resumed from ({why}); remove that folder to go on from the one before"
        ) from error


def _all(folder: Path) -> list[Path]:
    return sorted(one for one in folder.glob("step-*") if one.is_dir())


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, as safetensors wants them."""
    return {name: one.detach().cpu().contiguous().clone() for name, one in tensors.items()}


def _flat(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Optimiser state: tensors by ``index.name``, plain numbers apart."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            (tensors if isinstance(value, Tensor) else values)[f"{index}.{name}"] = value
    return tensors, values


def _restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **values}.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
