"""Learned codes that start at zero: a fresh model is the base model, and depth enters as far as training wants it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdvlm.fusion.add import add_update
from sdvlm.fusion.coordinate import check_kinds, coordinate, signed_log
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.fusion.sinusoid import sinusoid

__all__ = ["DepthMLP", "PointMapMLP"]


class _ZeroInitMLP(nn.Module):
    """Code features to the tokens' space; the last layer starts at zero, its output is scaled to the tokens' norm."""

    def __init__(self, features: int, hidden_size: int, width: int, relative_norm: float | None) -> None:
        super().__init__()
        self.first = nn.Linear(features, width)
        self.last = nn.Linear(width, hidden_size)
        self.relative_norm = relative_norm
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor, tokens: Tensor, grid: DepthGrid) -> Tensor:
        update = self.last(nn.functional.gelu(self.first(features.to(self.first.weight.dtype))))  # [T, D]
        return add_update(tokens, update, grid, self.relative_norm)


class DepthMLP(nn.Module):
    """Zero-initialised MLP on the sine code of one depth coordinate and the valid share.

    Args:
        hidden_size: D.
        coordinate_name: a key of ``fusion.coordinate.COORDINATES``.
        scale, base: of the sine code.
        code_dim: width of the sine code.
        width: hidden width of the MLP.
        relative_norm: size of a unit update as a share of the tokens' mean norm; None for no scaling.
    """

    def __init__(
        self,
        hidden_size: int,
        coordinate_name: str = "log_metric",
        scale: float = 30.0,
        base: float = 100.0,
        code_dim: int = 64,
        width: int = 256,
        relative_norm: float | None = 1.0,
    ) -> None:
        super().__init__()
        self.coordinate_name, self.scale, self.base, self.code_dim = coordinate_name, scale, base, code_dim
        self.mlp = _ZeroInitMLP(code_dim + 1, hidden_size, width, relative_norm)

    def forward(self, tokens: Tensor, grid: DepthGrid) -> Tensor:
        """(T, D) projected image tokens and their depth to (T, D)."""
        code = sinusoid(self.scale * coordinate(grid, self.coordinate_name), self.code_dim, self.base)
        updated: Tensor = self.mlp(torch.cat([code, grid.valid[:, None]], dim=-1), tokens, grid)
        return updated


class PointMapMLP(nn.Module):
    """Zero-initialised MLP on where each token's surface lies in space: x, y, z, its spread and the camera's ray.

    Pictures differ in focal length, so depth alone does not say how large a thing is; the back-projected point does.
    Without a camera x, y and the ray are unknown and coded as zero, and z still counts. Metric depth only.

    Args:
        hidden_size: D.
        scale, base: of the sine codes.
        code_dim: width of the sine code of each of the five lengths.
        width: hidden width of the MLP.
        relative_norm: size of a unit update as a share of the tokens' mean norm; None for no scaling.
    """

    def __init__(
        self,
        hidden_size: int,
        scale: float = 30.0,
        base: float = 100.0,
        code_dim: int = 32,
        width: int = 256,
        relative_norm: float | None = 1.0,
    ) -> None:
        super().__init__()
        self.scale, self.base, self.code_dim = scale, base, code_dim
        self.mlp = _ZeroInitMLP(5 * code_dim + 6, hidden_size, width, relative_norm)

    def forward(self, tokens: Tensor, grid: DepthGrid) -> Tensor:
        """(T, D) projected image tokens and their points to (T, D)."""
        check_kinds(grid, "log_metric")
        with torch.autocast(device_type=tokens.device.type, enabled=False):
            lengths = torch.stack([grid.x, grid.y, grid.z, grid.z_min, grid.z_max], dim=-1)  # [T, 5]
            code = sinusoid(self.scale * signed_log(lengths), self.code_dim, self.base).flatten(-2)
            plain = [signed_log(grid.x), signed_log(grid.y), signed_log(grid.z), grid.ray_x, grid.ray_y, grid.valid]
            features = torch.cat([code, torch.nan_to_num(torch.stack(plain, dim=-1))], dim=-1)
        updated: Tensor = self.mlp(features, tokens, grid)
        return updated
