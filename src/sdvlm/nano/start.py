"""Where training starts: from a trained checkpoint, or with image tokens of the size of words and depth as strong in
them as the picture.

A tower trained alone leaves features of any size (here a few channels hundreds of times larger than the others), and a
fusion that starts at zero needs thousands of steps to be heard. Both are set from data once, before the first step: the
projector standardises each channel, and the fusion's update starts as large as the tokens it is added to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.early import EarlyDepth
from sdvlm.nano.config import NanoConfig
from sdvlm.nano.sight import Sight
from sdvlm.types import SdvlmError

__all__ = ["Start", "check_start", "start_tokens"]

TOKEN_RMS = 0.2
"""root mean square of an image token's entries at the start"""


def check_start(folder: str, config: NanoConfig) -> None:
    """See that training of a model of these sizes can go on from a folder.

    Raises:
        SdvlmError: it holds no nano checkpoint, or one of other sizes.
    """
    path = Path(folder) / "nano.json"
    if not path.exists():
        raise SdvlmError(f"{folder} holds no nano checkpoint (nano.json); name a folder that 'sdvlm nano train' wrote")
    kept = json.loads(path.read_text())
    sizes = {name: value for name, value in config.to_dict().items() if type(value) is int}
    for size, wanted in sizes.items():
        if kept.get(size) != wanted:
            raise SdvlmError(
                f"{folder} is a model with {size} {kept.get(size)}, and one with {wanted} is to be trained; "
                "start from a checkpoint of the same sizes or from fresh weights"
            )


@dataclass(frozen=True)
class Start:
    """A trained nano checkpoint that training goes on from.

    Args:
        vlm: its LLaVA.
        fusion: how depth enters it.
    """

    vlm: Any
    fusion: Any

    @classmethod
    def read(cls, folder: str) -> Start:
        """The checkpoint of a folder that ``nano.export`` wrote."""
        from sdvlm.models.wrapper import DepthVLM

        model: Any = DepthVLM.from_pretrained(folder).float()
        return cls(model.vlm, model.fusion)

    def give_tower(self, sight: Sight) -> None:
        """Its tower, and what depth enters it through if both have that; else depth begins as nothing added."""
        sight.tower.load_state_dict(self.vlm.model.vision_tower.state_dict())
        if sight.stem is not None and isinstance(self.fusion, EarlyDepth):
            sight.stem.load_state_dict(self.fusion.stem.state_dict())

    def give_language(self, vlm: Any, fusion: nn.Module) -> None:
        """Its projector, language model and, if it is of the same kind, fusion behind the tower."""
        vlm.load_state_dict(self.vlm.state_dict())
        own = self.fusion.behind if isinstance(self.fusion, EarlyDepth) else self.fusion
        if type(own) is type(fusion):
            fusion.load_state_dict(own.state_dict())


@torch.no_grad()
def start_tokens(vlm: Any, fusion: nn.Module, features: Tensor, depth: Tensor) -> None:
    """Set the projector's and the fusion's weights in place.

    Args:
        vlm: a LLaVA.
        fusion: one without weights is left as it is.
        features: (F, N, Dv) patch features of some pictures.
        depth: (F, N, C) their packed depth.
    """
    first, last = vlm.model.multi_modal_projector.linear_1, vlm.model.multi_modal_projector.linear_2
    flat = features.flatten(0, 1)
    mean, std = flat.mean(0), flat.std(0).clamp(min=1e-6)
    nn.init.normal_(first.weight, std=first.in_features**-0.5)
    first.weight /= std
    first.bias.copy_(-first.weight @ mean)
    nn.init.normal_(last.weight, std=last.in_features**-0.5)
    nn.init.zeros_(last.bias)
    tokens = vlm.model.multi_modal_projector(features)
    last.bias.copy_(-tokens.flatten(0, 1).mean(0))
    gain = TOKEN_RMS / (tokens + last.bias).square().mean().sqrt()
    last.weight *= gain
    last.bias *= gain
    tokens = vlm.model.multi_modal_projector(features).flatten(0, 1)

    of_fusion: Any = getattr(fusion, "behind", fusion)
    if not list(fusion.parameters()):
        return
    code = of_fusion.mlp.last
    nn.init.normal_(code.weight, std=code.in_features**-0.5)
    index = torch.arange(len(depth), device=depth.device).repeat_interleave(depth.shape[1])
    update = fusion(tokens, DepthGrid.unpack(depth.flatten(0, 1), index)) - tokens
    code.weight *= TOKEN_RMS / update.square().mean().sqrt()
