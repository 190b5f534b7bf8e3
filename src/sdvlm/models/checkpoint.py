"""Strict loading: a checkpoint loads whole or not at all, and says in one line what is wrong with it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from sdvlm.types import SdvlmError

__all__ = [
    "HUB",
    "check_complete",
    "check_kind",
    "finish_saving",
    "load_strictly",
    "load_vlm",
    "read_config",
    "readable_errors",
    "written_whole",
]

HUB = ("revision", "token", "cache_dir", "local_files_only", "subfolder")
"""arguments that say where on a hub a checkpoint lies"""

_SAVING, _SAVED, _NAMES = ".saving-", ".saved", ".names.json"
_STALE_SECONDS = 3600
_WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json", "adapter_*.*", "fusion.*")


def load_vlm(folder_or_id: str | os.PathLike[str], dtype: torch.dtype | str | None, **load: Any) -> PreTrainedModel:
    """A plain vision-language model, strictly.

    Raises:
        SdvlmError: as ``DepthVLM.from_pretrained``.
    """
    read_config(folder_or_id, **load)
    model = load_strictly(AutoModelForImageTextToText.from_pretrained, folder_or_id, dtype=dtype or "auto", **load)
    assert isinstance(model, PreTrainedModel)
    return model


def load_strictly(load: Callable[..., Any], folder_or_id: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
    """What ``load`` (some ``from_pretrained``) makes of safetensors files that fit its config exactly.

    Raises:
        SdvlmError: see ``DepthVLM.from_pretrained``.
    """
    strict = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}  # to name them all
    with readable_errors(folder_or_id):
        model, info = load(folder_or_id, *args, **kwargs, **strict)
    check_complete(folder_or_id, info)
    return model


def check_kind(folder_or_id: str | os.PathLike[str], model_type: str, **load: Any) -> None:
    """Refuse a place that is not there or holds another kind of model."""
    found = read_config(folder_or_id, **load).get("model_type")
    if found != model_type:
        raise SdvlmError(
            f"'{folder_or_id}' holds a plain '{found}' model, not a model with depth; "
            "load it with DepthVLM.from_vlm(...), which adds a fusion"
        )


def check_complete(folder_or_id: str | os.PathLike[str], info: Mapping[str, Any], most: int = 5) -> None:
    """Refuse a loading report with any weight missing, left over or of another shape; names ``most`` of each."""
    problems = [
        f"{len(info[key])} {word} ({_some(info[key], most)})"
        for key, word in (
            ("missing_keys", "missing"),
            ("unexpected_keys", "left over"),
            ("mismatched_keys", "misshapen"),
        )
        if info.get(key)
    ]
    problems += [f"reading failed: {error}" for error in info.get("error_msgs", ()) if error]
    if problems:
        raise SdvlmError(f"the weights of '{folder_or_id}' do not fit its config: {'; '.join(problems)}")


@contextmanager
def readable_errors(folder_or_id: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what loaders raise for absent and damaged files into one line."""
    try:
        yield
    except SafetensorError as error:
        raise SdvlmError(
            f"a weights file of '{folder_or_id}' is damaged or cut short ({error}); copy it again"
        ) from error
    except (OSError, ValueError) as error:
        raise SdvlmError(f"cannot load '{folder_or_id}': {str(error).strip().splitlines()[0]}") from error
    except ImportError as error:  # a package that some towers want, named with how to install it
        raise SdvlmError(f"cannot load '{folder_or_id}': {' '.join(str(error).split())}") from error


@contextmanager
def written_whole(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder whose files move into ``folder`` when all are written; after a failure nothing has changed.

    A process that is killed leaves the old files, or, once the new ones are all written, the new: what it was about to
    move is moved by whoever loads or saves there next. Weights that an earlier save left in ``folder`` and this one
    does not replace are removed.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    finish_saving(target)
    for stale in target.glob(f"{_SAVING}*"):
        if time.time() - max(path.stat().st_mtime for path in [stale, *stale.rglob("*")]) > _STALE_SECONDS:
            shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SAVING, dir=target) as name:
        new = Path(name) / "files"
        new.mkdir()
        yield new
        names = sorted(path.name for path in new.iterdir())
        (new / _NAMES).write_text(json.dumps(names), encoding="utf-8")
        os.rename(new, target / _SAVED)  # from here on the new files count
    finish_saving(target)


def finish_saving(folder: str | os.PathLike[str]) -> None:
    """Move what a killed process had written whole but not yet moved."""
    target, saved = Path(folder), Path(folder) / _SAVED
    if not saved.is_dir():
        return
    with suppress(FileNotFoundError):  # another process finishes it at the same time
        _move(json.loads((saved / _NAMES).read_text(encoding="utf-8")), saved, target)
    shutil.rmtree(saved, ignore_errors=True)


def _move(names: list[str], saved: Path, target: Path) -> None:
    if any(name.endswith(".safetensors") for name in names):
        for old in {path for pattern in _WEIGHTS for path in target.glob(pattern)}:
            if old.name not in names:
                old.unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == "config.json"):  # the config comes last
        if (saved / name).exists():
            if (target / name).is_dir():
                shutil.rmtree(target / name)
            os.replace(saved / name, target / name)


def read_config(folder_or_id: str | os.PathLike[str], **load: Any) -> dict[str, Any]:
    """Plain values of a checkpoint's ``config.json``; of ``load`` only ``HUB`` counts.

    Raises:
        SdvlmError: no such folder, or it has no readable config.
    """
    path = Path(folder_or_id)
    looks_local = path.is_absolute() or len(path.parts) != 2 or str(folder_or_id).startswith((".", "~"))
    if looks_local and not path.is_dir():
        raise SdvlmError(f"no model folder '{folder_or_id}'; give an existing folder or a hub id such as org/name")
    finish_saving(path)
    if path.is_dir() and not (path / "config.json").is_file():
        raise SdvlmError(f"'{folder_or_id}' has no config.json, so it is not a model folder")
    with readable_errors(folder_or_id):
        values, _ = PreTrainedConfig.get_config_dict(folder_or_id, **{k: load[k] for k in HUB if k in load})
    return values


def _some(names: Any, most: int) -> str:
    listed = sorted(str(name[0] if isinstance(name, tuple) else name) for name in names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
