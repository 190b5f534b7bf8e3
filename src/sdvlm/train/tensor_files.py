"""Tensors kept on disk, one file for each thing they were made from. Files appear whole; a damaged one is absent."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sdvlm.depth.atomic import atomic_file
from sdvlm.depth.bounded_folder import BoundedFolder

__all__ = ["TensorFiles"]

_LOG = logging.getLogger(__name__)
_SUM = "crc32"
_SLACK = 0.02


class TensorFiles:
    """Named tensors by key. Several processes may share the folder, in training and in loader workers.

    Args:
        folder: made when first written to.
        max_bytes: the least recently used files go beyond this; None: never.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self._files = BoundedFolder(folder, ".safetensors", max_bytes, _SLACK)
        self._told = False

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._files.folder

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, on the CPU; None where there are none or the file is damaged."""
        path = self._files.path(key)
        try:
            found = safetensors.torch.load(path.read_bytes())
            whole = int(found.pop(_SUM)) == _checksum(found)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            _LOG.warning("%s is damaged and will be made again: %s", path, error)
            return None
        if not whole:
            _LOG.warning("%s is damaged and will be made again: its checksum differs", path)
            return None
        self._files.used(path)
        return found

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors. Where the disk is full or not writable that is told once, and nothing is kept."""
        own = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        data = safetensors.torch.save(own | {_SUM: torch.tensor(_checksum(own))})
        path = self._files.path(key)
        try:
            with atomic_file(path) as stream:
                stream.write(data)
        except OSError as error:
            if not self._told:
                _LOG.warning("nothing more is kept in %s: %s", self.folder, error)
                self._told = True
            return
        self._files.written(path)


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        if tensors[name].numel():
            value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return value
