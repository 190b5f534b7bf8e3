"""Depth as tokens of its own: one learned token a patch, looked up by how far the patch is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdvlm.fusion.add import mean_norm
from sdvlm.fusion.coordinate import coordinate
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.sinusoid import sinusoid
from sdvlm.types import SdvlmError

__all__ = ["BIN_COORDINATES", "DepthTokens"]

BIN_COORDINATES = ("log_metric", "minmax")
"""coordinates that run from 0 to 1, so that bins can cover them"""

_SCALE, _BASE = 30.0, 100.0  # of the sine code the table starts as: that of ``AddDepthCode``
_PLACE_SCALE, _PLACE_DIM = 10.0, 32


class DepthTokens(nn.Module):
    """A table with one row for each of ``bins`` depths, equally spaced in the coordinate, and one for "unknown".

    The token of a patch is the mixture of the two rows its depth lies between, so that it moves with depth without
    steps and both rows learn. The rows start as the sine code of their depths, so that near depths have like tokens
    before anything is learned, and patches never seen at some depth are not left with noise.

    A language model that reads the picture's tokens and then as many depth tokens has to find which belong together:
    ``places`` adds a learned code of the patch's place in the picture. That alone was not enough on the toy task
    (``eval.toy``: 0.49 of ordinal questions after 300 and after 1,500 steps), so ``models.seam`` adds each patch's
    image token to its depth token, unless ``FusionConfig.paired`` says otherwise.

    The tokens start with ``relative_norm`` times the mean norm of the picture's own. They take no part in the picture's
    tokens, which reach the language model unchanged; but they are more tokens, so a fresh model is not the base model
    where there is depth.

    Args:
        hidden_size: D, even.
        bins: rows of the table, at least 2.
        coordinate_name: one of ``BIN_COORDINATES``.
        relative_norm: size of a fresh token as a share of the picture tokens' mean norm; None: sqrt(D).
        places: see above.

    Raises:
        SdvlmError: fewer than two bins, an odd width, or a coordinate without a range.
    """

    def __init__(
        self,
        hidden_size: int,
        bins: int = 128,
        coordinate_name: str = "log_metric",
        relative_norm: float | None = 1.0,
        places: bool = True,
    ) -> None:
        super().__init__()
        if bins < 2:
            raise SdvlmError(f"depth tokens need at least 2 bins; got {bins}")
        if coordinate_name not in BIN_COORDINATES:
            known = " or ".join(f"'{name}'" for name in BIN_COORDINATES)
            raise SdvlmError(f"depth tokens need a coordinate that runs from 0 to 1, {known}; got '{coordinate_name}'")
        self.coordinate_name, self.relative_norm = coordinate_name, relative_norm
        rows = sinusoid(_SCALE * torch.linspace(0, 1, bins), hidden_size, _BASE)
        self.table = nn.Parameter(rows * 2**0.5)  # unit mean square, as the unknown row has
        self.unknown = nn.Parameter(torch.randn(hidden_size))
        self.places = nn.Linear(2 * _PLACE_DIM, hidden_size, bias=False) if places else None
        if self.places is not None:
            nn.init.normal_(self.places.weight, std=0.5 * _PLACE_DIM**-0.5)  # half of a row's size

    def forward(self, tokens: Tensor, grid: DepthGrid) -> Tensor:
        """(T, D) projected image tokens, for their norm, and their depth to (T, D) depth tokens of the same dtype.

        Raises:
            SdvlmError: the depth is of a kind the coordinate is not defined for.
        """
        with torch.autocast(device_type=tokens.device.type, enabled=False):
            position = coordinate(grid, self.coordinate_name) * (len(self.table) - 1)
            position = torch.nan_to_num(position).clamp(0, len(self.table) - 1)
            lower = position.floor().clamp(max=len(self.table) - 2)
            row, share = lower.long(), (position - lower)[:, None]
            mixed = torch.lerp(self.table[row].float(), self.table[row + 1].float(), share)  # [T, D]
            out = torch.where(grid.known[:, None], mixed, self.unknown.float())
            if self.places is not None:
                where = sinusoid(_PLACE_SCALE * torch.stack([grid.u, grid.v], dim=-1), _PLACE_DIM, _BASE).flatten(-2)
                out = out + nn.functional.linear(where, self.places.weight.float())
            if self.relative_norm is not None:
                out = out * (self.relative_norm * mean_norm(tokens, grid.image_index) / out.shape[-1] ** 0.5)
            return out.to(tokens.dtype)
