"""LoRA adapters of the official training script, merged into their base as each tensor is read.

The script puts adapters on every linear layer outside projector and CLIP, the frozen depth network's included; those
get no gradient, so their effect is zero, but they are in the file. The projector is trained in full and lies in
``non_lora_trainables.bin``. Names carry ``base_model.`` and one or two ``model.`` in front
(``llava/model/builder.py``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Container, Mapping
from typing import Any

from torch import Tensor

from sdvlm.models.official.tensors import Stored, Tensors
from sdvlm.types import SdvlmError

__all__ = ["AdaptedTensors"]

_log = logging.getLogger(__name__)
_LORA = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_UNKNOWN_METHODS = ("use_dora", "fan_in_fan_out", "modules_to_save")


class AdaptedTensors:
    """A base's tensors with an adapter merged in: ``W + scale * B A``.

    Computed in float32 and rounded once to the weight's dtype, as PEFT's ``merge_and_unload`` does.

    Args:
        base: the weights the adapter was trained on.
        adapter: its ``lora_A`` and ``lora_B``.
        settings: ``adapter_config.json``.
        trained: tensors trained in full, in place of the base's or beside them.

    Raises:
        SdvlmError: a kind of adapter that is not known, half a pair, a shape that does not fit, or an adapter for a
            weight the base lacks.
    """

    def __init__(
        self, base: Tensors, adapter: Tensors, settings: Mapping[str, Any], trained: Tensors | None = None
    ) -> None:
        self._base, self._adapter, self._settings = base, adapter, settings
        for name in _UNKNOWN_METHODS:
            if settings.get(name):
                raise SdvlmError(f"an adapter with {name} is not known here; merge it where it was trained")
        self._trained: dict[str, tuple[Tensors, str]] = {}
        self.stored: dict[str, Stored] = dict(base.stored)
        for name, known in ({} if trained is None else trained.stored).items():
            assert trained is not None
            plain = _plain(name, base.stored)
            self._trained[plain], self.stored[plain] = (trained, name), known
        self._pairs = self._match()

    def read(self, name: str) -> Tensor:
        """One tensor, merged."""
        if name in self._trained:
            source, stored_as = self._trained[name]
            return source.read(stored_as)
        weight = self._base.read(name)
        if name not in self._pairs:
            return weight
        a, b = (self._adapter.read(one).float() for one in self._pairs[name])
        update = (b.flatten(1) @ a.flatten(1)).view(weight.shape) * self._scale(name, len(a))
        return (weight.float() + update).to(weight.dtype)

    def _match(self) -> dict[str, tuple[str, str]]:
        """Names of the A and B of each weight of the base."""
        halves: dict[str, dict[str, str]] = {}
        unknown = []
        for name in self._adapter.stored:
            if found := _LORA.fullmatch(name):
                halves.setdefault(_plain(f"{found[1]}.weight", self._base.stored), {})[found[2]] = name
            else:
                unknown.append(name)
        odd = [*unknown, *(name for half in halves.values() if len(half) == 1 for name in half.values())]
        if odd:
            raise SdvlmError(
                f"the adapter holds {len(odd)} tensors that are no pair of LoRA weights: {', '.join(odd[:5])}"
            )
        pairs, lost, dead = {}, [], 0
        for name, half in halves.items():
            if name in self._base.stored and name not in self._trained:
                self._check(name, half)
                pairs[name] = (half["A"], half["B"])
            elif bool(self._adapter.read(half["B"]).any()):
                lost.append(name)
            else:
                dead += 1
        if lost:
            raise SdvlmError(f"the adapter changes {len(lost)} weights that its base lacks: {', '.join(lost[:5])}")
        if dead:
            _log.warning("the adapter has %d targets without effect that its base lacks; they are left out", dead)
        return pairs

    def _check(self, name: str, half: Mapping[str, str]) -> None:
        shape, a, b = (self._base.stored[name].shape, *(self._adapter.stored[half[one]].shape for one in "AB"))
        if a[0] != b[1] or (b[0], *a[1:]) != shape:
            raise SdvlmError(f"the adapter of {name} is {b} x {a}, its weight {shape}; they do not belong together")

    def _scale(self, name: str, rank: int) -> float:
        module = name.removesuffix(".weight")
        alpha = float(self._settings.get("lora_alpha", 8))
        for pattern, special in (self._settings.get("alpha_pattern") or {}).items():
            if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module):
                alpha = float(special)
        return alpha / (rank**0.5 if self._settings.get("use_rslora") else rank)


def _plain(name: str, known: Container[str]) -> str:
    """A released name without the prefixes that PEFT and the trainer put before it."""
    name = name.removeprefix("base_model.")
    while name not in known and name.startswith(
        ("model.model.", "model.lm_head.", "model.depth.", "model.depth_projector.")
    ):
        name = name.removeprefix("model.")
    return name
