"""Kept features of a tower that has the projector in it, which is trained: what the projector reads is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.fusion.towers import find_tower
from sdvlm.train.kept_tower import TowerCache
from sdvlm.train.tensor_files import TensorFiles
from sdvlm.types import SdvlmError

__all__ = ["MergerCache"]


class MergerCache(TowerCache):
    """The same for a tower that has the projector in it (Qwen2.5-VL), which is trained: what it reads is kept.

    The tower's own ``forward`` then runs with its layers passed over, so that merging and order are its own.

    Args:
        host, files: as of ``TowerCache``.
        merger: path of the projector in the tower.
    """

    def __init__(self, host: Any, files: TensorFiles, merger: str) -> None:
        self.merger: nn.Module = find_tower(host).get_submodule(merger)
        super().__init__(host, files, merger)
        self._layers = [one for one in self.tower.modules() if isinstance(one, GradientCheckpointingLayer)]

    def _parts_read(self, host: Any) -> tuple[str, ...]:
        super()._parts_read(host)
        if self._made.get("deepstack_features"):
            raise SdvlmError(
                f"cache_features: {type(self.tower).__name__} puts out deeper feature levels too, which cannot be kept "
                "while its projector is trained; set lr.projector to 0, or cache_features to false"
            )
        return ("merger_input",)

    def _look(self, pixels: Tensor, others: Mapping[str, Any]) -> dict[str, Tensor]:
        read: list[Tensor] = []
        hook = self.merger.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
        try:
            super()._look(pixels, others)
        finally:
            hook.remove()
        return {self.parts[0]: read[0]}

    def _output(self, kept: Mapping[str, Tensor], asked: Mapping[str, Any]) -> Any:
        states = kept[self.parts[0]]
        for layer in self._layers:
            layer.forward = lambda *args, **kwargs: states
        try:
            return self._own(**asked)
        finally:
            for layer in self._layers:
                del layer.forward
