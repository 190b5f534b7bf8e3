"""Tokens of a depth encoder: added to the image tokens, or standing behind them as a picture of their own.

The encoder is the host model's own way from pixels to image tokens, tower, selection, merging and projector, cloned and
with a patch embedding that reads depth (``fusion.vision_half``). So every image token has its depth token, in the same
place and of the same width, whatever the family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sdvlm.fusion.add import add_update
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.vision_half import VisionHalf
from sdvlm.types import SdvlmError

if TYPE_CHECKING:
    from sdvlm.fusion.encoder import DepthEncoder

__all__ = ["AddEncoded", "ConcatEncoded"]


class _Encoded(nn.Module):
    """What both have: the encoder."""

    def __init__(self, host: nn.Module, channels: int) -> None:
        super().__init__()
        self.vision = VisionHalf(host, channels)

    def encode(self, host: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """(T, D) depth tokens of all pictures. ``inputs``: of the host's ``get_image_features``, depth for pixels."""
        return torch.cat(list(self.vision(host, inputs)))

    def load_encoder(self, encoder: DepthEncoder) -> None:
        """Take a pre-trained encoder's tower; the projector stays the host's."""
        self.vision.load_tower(encoder)


class ConcatEncoded(_Encoded):
    """The depth tokens as a second picture's tokens (RoboRefer, arXiv 2506.04308; SD-VLM's "depth as tokens").

    A fresh one gives the language model what the host would make of the depth map as a grey picture.
    """

    def forward(self, tokens: Tensor, grid: DepthGrid, depth_tokens: Tensor) -> Tensor:
        """(T, D) tokens to stand behind (T, D) image tokens; a patch without depth has one too, which says so."""
        return depth_tokens.to(tokens.dtype)


class AddEncoded(_Encoded):
    """Image tokens plus a linear map of the depth tokens, zero at first (VG-LLM's addition, arXiv 2505.24625).

    A token without depth gets nothing.

    Args:
        hidden_size: D.
        host: the vision-language model without its head.
        channels: planes of a depth map the encoder reads.
        relative_norm: size of a unit update as a share of the tokens' mean norm; None for no scaling.
    """

    def __init__(self, hidden_size: int, host: nn.Module, channels: int, relative_norm: float | None = 1.0) -> None:
        super().__init__(host, channels)
        self.norm = nn.LayerNorm(hidden_size)
        self.last = nn.Linear(hidden_size, hidden_size)
        self.relative_norm = relative_norm
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, tokens: Tensor, grid: DepthGrid, depth_tokens: Tensor) -> Tensor:
        """(T, D) image tokens and the depth token of each to (T, D).

        Raises:
            SdvlmError: the encoder gave another number of tokens.
        """
        if len(depth_tokens) != len(tokens):
            raise SdvlmError(f"the depth encoder gave {len(depth_tokens)} tokens for {len(tokens)} image tokens")
        update = self.last(self.norm(depth_tokens.to(self.last.weight.dtype)))
        return add_update(tokens, update, grid, self.relative_norm)
