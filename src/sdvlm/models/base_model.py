"""What a run's adapters belong to: named, told from any other model, found again and loaded."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sdvlm.models import checkpoint
from sdvlm.models.config import DepthVLMConfig
from sdvlm.types import SdvlmError

__all__ = ["Base", "describe_base", "find_base", "load_base"]

_PACKAGE = Path(__file__).parents[1]
_SHIPPED = "sdvlm:"
"""in front of a path inside this package, wherever it is installed"""
_MOST_UPS = 2
_BEGINNING = 4096  # bytes


@dataclass(frozen=True)
class Base:
    """The model a run started from.

    Args:
        model: folder or hub id, of a plain vision-language model or of one with depth.
        revision: of the hub id, best its commit hash; None for a folder.
    """

    model: str
    revision: str | None = None


def describe_base(base: Base, run: str | os.PathLike[str]) -> dict[str, Any]:
    """The base as a run's config keeps it.

    A folder is kept relative to the run where it is near it (at most two levels up) or comes with this package, else by
    its full path; beside it stands ``files``, the SHA-256 of what is in it: of ``config.json``, and of each weights
    file's header and the first 4 KiB of each of its tensors, which tells any other model and takes no time.

    Raises:
        SdvlmError: the folder has no config.
    """
    folder = Path(base.model)
    if not folder.is_dir():
        return {"model": base.model, "revision": base.revision, "files": None}
    place = folder.resolve()
    near = os.path.relpath(place, Path(run).resolve())
    if place.is_relative_to(_PACKAGE):
        kept = _SHIPPED + place.relative_to(_PACKAGE).as_posix()
    else:
        kept = str(place) if near.split(os.sep).count(os.pardir) > _MOST_UPS else Path(near).as_posix()
    return {"model": kept, "revision": None, "files": _digests(folder)}


def find_base(told: dict[str, Any], run: Path, else_at: str, instead: str | os.PathLike[str] | None = None) -> Base:
    """Where the base lies now, checked to be the one.

    Args:
        told: as :func:`describe_base` gave it.
        run: folder of the run.
        else_at: where it lay when the run was saved, for a run that was moved away from it.
        instead: where it lies now, if in neither place.

    Raises:
        SdvlmError: it is not there, or what is there is another model.
    """
    model, files = str(told.get("model") or ""), told.get("files")
    if files is None:
        return Base(model if instead is None else str(instead), told.get("revision") if instead is None else None)
    places = [_place(model, run), Path(else_at)] if instead is None else [Path(instead)]
    folder = next((place for place in places if place.is_dir()), places[0])
    if not folder.is_dir():
        raise SdvlmError(f"'{run}' belongs to the model at '{folder}', which is not there; say where it is now (base)")
    found = _digests(folder)
    other = sorted(name for name in {*files, *found} if files.get(name) != found.get(name))
    if other:
        raise SdvlmError(
            f"'{run}' belongs to another model than the one at '{folder}': its {', '.join(other[:3])} "
            f"{'is' if len(other) == 1 else 'are'} not what the run was trained on; say where that is now (base)"
        )
    return Base(str(folder))


def load_base(base: Base, dtype: torch.dtype | str | None, **load: Any) -> Any:
    """The vision-language model of a base; what depth it takes is left out.

    Raises:
        SdvlmError: it does not load.
    """
    from sdvlm.models.official import is_official
    from sdvlm.models.wrapper import DepthVLM

    if base.revision is not None:
        load["revision"] = base.revision
    hub = {name: load[name] for name in checkpoint.HUB if name in load}
    kind = checkpoint.read_config(base.model, **hub).get("model_type")
    if kind == DepthVLMConfig.model_type or is_official(base.model, **hub):
        return DepthVLM.from_pretrained(base.model, dtype=dtype, **load).vlm
    return checkpoint.load_vlm(base.model, dtype=dtype, **load)


def _place(model: str, run: Path) -> Path:
    if model.startswith(_SHIPPED):
        return _PACKAGE / model.removeprefix(_SHIPPED)
    return Path(os.path.normpath(run.resolve() / model))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the config and of what tells the weights."""
    checkpoint.read_config(folder)
    files = sorted(path for pattern in ("*.safetensors", "*.bin") for path in folder.glob(pattern))
    return {"config.json": hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()} | {
        path.name: _digest(path) for path in files
    }


def _digest(path: Path) -> str:
    """Of a safetensors file: its size, header and the beginning of each tensor. Of another: its size, beginning and
    end, where a PyTorch file, a zip archive, keeps the checksums of what is in it."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if path.suffix == ".safetensors":
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, size))
            digest.update(header)
            with checkpoint.readable_errors(path):
                tensors = [one for name, one in json.loads(header).items() if name != "__metadata__"]
            spans = [(8 + length + start, end - start) for start, end in (one["data_offsets"] for one in tensors)]
        else:
            spans = [(0, size), (max(0, size - _BEGINNING), _BEGINNING)]
        for start, there in sorted(spans):
            file.seek(start)
            digest.update(file.read(min(there, _BEGINNING)))
    return digest.hexdigest()
