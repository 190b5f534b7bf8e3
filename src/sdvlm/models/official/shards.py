"""Safetensors files written one tensor at a time: the memory needed is that of the largest tensor."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from sdvlm.models.official.tensors import DTYPES

__all__ = ["MAX_SHARD_BYTES", "Outgoing", "write_shards"]

MAX_SHARD_BYTES = 5 * 10**9
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Outgoing:
    """A tensor to be written.

    Args:
        name, shape, dtype: as it will lie in the file.
        read: gives it, when its turn comes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def size(self) -> int:
        """In bytes."""
        return prod(self.shape) * self.dtype.itemsize


def write_shards(folder: Path, tensors: Sequence[Outgoing], most: int = MAX_SHARD_BYTES) -> list[Path]:
    """Write ``model.safetensors``, or several files of at most ``most`` bytes of tensors and their index.

    Args:
        folder: an existing one.
        tensors: read in this order, wider dtypes first.
        most: a tensor larger than this has a file of its own.

    Returns:
        the weight files.
    """
    ordered = sorted(tensors, key=lambda one: -one.dtype.itemsize)  # so that each starts at a multiple of its own size
    shards: list[list[Outgoing]] = [[]]
    for one in ordered:
        if shards[-1] and sum(other.size for other in shards[-1]) + one.size > most:
            shards.append([])
        shards[-1].append(one)
    if len(shards) == 1:
        _write(folder / "model.safetensors", shards[0])
        return [folder / "model.safetensors"]
    files = [folder / f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        _write(file, shard)
    where = {one.name: file.name for file, shard in zip(files, shards, strict=True) for one in shard}
    index = {"metadata": {"total_size": sum(one.size for one in ordered)}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True), encoding="utf-8")
    return files


def _write(file: Path, tensors: Sequence[Outgoing]) -> None:
    """One file: the length of a JSON header, the header, the bytes (format of huggingface/safetensors)."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for one in tensors:
        header[one.name] = {"dtype": _NAMES[one.dtype], "shape": one.shape, "data_offsets": [at, at + one.size]}
        at += one.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for one in tensors:
            found = one.read().to(one.dtype).contiguous()
            assert tuple(found.shape) == one.shape, one.name
            stream.write(found.view(torch.uint8).numpy().data)
            del found  # before the next is read
