"""The tensors of a checkpoint on disk, whatever files they lie in, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sdvlm.types import SdvlmError

__all__ = ["DTYPES", "Stored", "TensorFiles", "Tensors", "weight_files"]

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16} | {
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""names of safetensors' dtypes"""

_MAPPED = 1 << 26  # bytes read from a mapping before it is opened anew
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_LOOSE = ("model*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Stored:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class Tensors(Protocol):
    """Named tensors that are read when asked for."""

    @property
    def stored(self) -> dict[str, Stored]:
        """Of each tensor, in an order that reads each file once."""
        ...

    def read(self, name: str) -> Tensor:
        """One tensor, on the CPU; it may be a view into a mapped file, so do not write to it."""
        ...


class TensorFiles:
    """Tensors of safetensors and PyTorch files.

    PyTorch files are opened with ``weights_only=True`` and mapped, not read; of several only one is open at a time, and
    that anew from time to time, as every page that was looked at counts as memory in use.

    Args:
        files: a name may be in one of them only.

    Raises:
        SdvlmError: a file is damaged, no weights file, or repeats a name.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.stored: dict[str, Stored] = {}
        self._file: dict[str, Path] = {}
        self._open: tuple[Path, dict[str, Tensor]] | None = None
        self._touched = 0
        for file in files:
            for name, known in self._contents(file):
                if name in self._file:
                    raise SdvlmError(f"{name} is in {self._file[name].name} and in {file.name} of {file.parent}")
                self.stored[name], self._file[name] = known, file
        self._open = None

    def read(self, name: str) -> Tensor:
        """One tensor. Raises ``SdvlmError`` where its file is damaged."""
        file = self._file[name]
        if file.suffix != ".safetensors":
            found = self._unpickled(file)[name]
            self._touched += found.nbytes
            return found
        try:
            with safe_open(file, "pt") as opened:  # opened anew each time: what is mapped counts as memory in use
                tensor: Tensor = opened.get_tensor(name)
                return tensor
        except (SafetensorError, OSError) as error:
            raise _damaged(file, error) from error

    def _contents(self, file: Path) -> Iterator[tuple[str, Stored]]:
        if file.suffix != ".safetensors":
            yield from ((k, Stored(tuple(v.shape), v.dtype)) for k, v in self._unpickled(file).items())
            return
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118  (not a dict)
                    part = opened.get_slice(name)
                    yield name, Stored(tuple(part.get_shape()), DTYPES[part.get_dtype()])
        except (SafetensorError, OSError, KeyError) as error:
            raise _damaged(file, error) from error

    def _unpickled(self, file: Path) -> dict[str, Tensor]:
        if self._open is None or self._open[0] != file or self._touched > _MAPPED:
            self._open = None  # let go of the last mapping first
            self._open, self._touched = (file, _load_bin(file)), 0
        return self._open[1]


def weight_files(folder: Path) -> list[Path]:
    """The files a model's weights lie in: safetensors before PyTorch files, an index before a single file.

    Raises:
        SdvlmError: the folder has none, or an index names a file that is not there.
    """
    for single, index, loose in zip(_SINGLE, _INDEX, _LOOSE, strict=True):
        if (folder / index).is_file():
            return _indexed(folder / index)
        if (folder / single).is_file():
            return [folder / single]
        if found := sorted(folder.glob(loose)):
            return found
    raise SdvlmError(f"{folder} has no weights; wanted {' or '.join(_SINGLE)}, or shards of one with their index")


def _indexed(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(index, error) from error
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise SdvlmError(
            f"{index.parent} lacks {len(absent)} of {len(names)} weight files: {', '.join(absent)}; copy them"
        )
    return [index.parent / name for name in names]


def _load_bin(file: Path) -> dict[str, Tensor]:
    found: Any
    try:
        try:
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # a file of before torch 1.6 cannot be mapped
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, OSError, ValueError) as error:
        raise _damaged(file, error) from error
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise SdvlmError(f"{file} holds no plain dict of tensors, so it is no weights file")
    return found


def _damaged(file: Path, error: Exception) -> SdvlmError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return SdvlmError(f"{file} is damaged, cut short or no weights file ({said}); copy it again")
