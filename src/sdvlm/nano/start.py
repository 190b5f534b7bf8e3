"""Where the language stages start: image tokens of the size of words, depth in them as strong as the picture.

A tower trained alone leaves features of any size (here a few channels hundreds of times larger than the others), and a
fusion that starts at zero needs thousands of steps to be heard. Both are set from data once, before the first step: the
projector standardises each channel, and the fusion's update starts as large as the tokens it is added to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sdvlm.fusion.depth_grid import DepthGrid

__all__ = ["start_tokens"]

TOKEN_RMS = 0.2
"""root mean square of an image token's entries at the start"""


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
