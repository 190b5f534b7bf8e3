"""The fusions there are, by name, and the config a checkpoint carries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from sdvlm.fusion.add import AddDepthCode
from sdvlm.fusion.coordinate import accepted_kinds
from sdvlm.fusion.learned import DepthMLP, PointMapMLP
from sdvlm.fusion.rotary import RotateByDepth
from sdvlm.fusion.sinusoid import SINE_DTYPES
from sdvlm.types import DepthKind, SdvlmError

__all__ = ["FUSIONS", "POOLINGS", "FusionConfig", "build_fusion"]

POOLINGS = ("boxes", "unpadded")
"""over the token boxes (``fusion.pool``), or over the picture without its padding (``fusion.pool_unpadded``)"""


@dataclass(frozen=True)
class FusionConfig:
    """How depth enters the image tokens.

    Raises:
        SdvlmError: an unknown fusion, coordinate, pooling or dtype, a number no code can be made with, or settings
            that exclude each other.
    """

    name: str = "gated"
    """a key of ``FUSIONS``"""
    coordinate: str = "log_metric"
    """a key of ``fusion.coordinate.COORDINATES``; the point map has its own and ignores this"""
    scale: float = 30.0
    """multiplies the coordinate before the sines"""
    base: float = 100.0
    """slowest wavelength of the sine code over its fastest"""
    relative_norm: float | None = None
    """size of the code as a share of the tokens' mean norm; None: as it is"""
    code_dim: int = 64
    """width of the sine code of the learned fusions"""
    width: int = 256
    """hidden width of the learned fusions"""
    pooling: str = "boxes"
    """one of ``POOLINGS``: what a token's depth is the mean of"""
    sine_dtype: str = "float32"
    """one of ``fusion.sinusoid.SINE_DTYPES``; float16 gives ``dpe`` the rounding of a half-precision SD-VLM run"""

    def __post_init__(self) -> None:
        if self.name not in FUSIONS:
            raise SdvlmError(f"no fusion '{self.name}'; choose one of {', '.join(FUSIONS)}")
        for setting, value, known in (
            ("pooling", self.pooling, POOLINGS),
            ("sine_dtype", self.sine_dtype, SINE_DTYPES),
        ):
            if value not in known:
                raise SdvlmError(f"no fusion {setting} '{value}'; choose one of {', '.join(known)}")
        if self.name == "pointmap" and self.pooling != "boxes":
            raise SdvlmError("the fusion 'pointmap' needs the points of token boxes; use the pooling 'boxes'")
        accepted_kinds(self.coordinate)
        positive = {"scale": self.scale, "width": self.width, "code_dim": self.code_dim, "base": self.base}
        if self.relative_norm is not None:
            positive["relative_norm"] = self.relative_norm
        for name, number in positive.items():
            if not 0 < number < math.inf:
                raise SdvlmError(f"the fusion setting {name} must be a positive number; got {number}")
        if self.code_dim % 2:
            raise SdvlmError(f"the fusion setting code_dim must be even; got {self.code_dim}")

    @classmethod
    def preset(cls, name: str) -> FusionConfig:
        """The recommended settings of a fusion, or one of the released SD-VLM's.

        ``sdvlm_official`` gives the released encoding number for number, pooling included; ``sdvlm`` is the same code
        over token boxes, which puts each depth where the token looks; ``rope`` is the rotary variant that the released
        code has and does not use, over token boxes.
        """
        if name in ("sdvlm", "sdvlm_official"):
            pooling = "boxes" if name == "sdvlm" else "unpadded"
            return cls("dpe", coordinate="sdvlm_compat", scale=1.0, base=10_000.0, pooling=pooling)
        if name == "rope":
            return cls(name, coordinate="sdvlm_compat", scale=100.0, base=10_000.0)
        shares = {"dpe": 0.3, "gated": 1.0, "mlp": 1.0, "pointmap": 1.0}
        return cls(name, relative_norm=shares.get(name), code_dim=32 if name == "pointmap" else 64)

    @property
    def kinds(self) -> frozenset[DepthKind]:
        """The depth kinds this fusion takes."""
        return accepted_kinds("log_metric" if self.name == "pointmap" else self.coordinate)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``config.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FusionConfig:
        """Inverse of :meth:`to_dict`; refuses fields it does not know."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise SdvlmError(f"unknown fusion settings {', '.join(unknown)}; this checkpoint is newer than this sdvlm")
        return cls(**values)


def _add(config: FusionConfig, hidden_size: int, gated: bool) -> nn.Module:
    sizes = (config.scale, config.base, config.relative_norm)
    return AddDepthCode(hidden_size, config.coordinate, *sizes, gated, config.sine_dtype)


def _rope(config: FusionConfig, hidden_size: int) -> nn.Module:
    return RotateByDepth(hidden_size, config.coordinate, config.scale, config.base)


def _mlp(config: FusionConfig, hidden_size: int) -> nn.Module:
    sizes = (config.code_dim, config.width, config.relative_norm)
    return DepthMLP(hidden_size, config.coordinate, config.scale, config.base, *sizes)


def _pointmap(config: FusionConfig, hidden_size: int) -> nn.Module:
    return PointMapMLP(hidden_size, config.scale, config.base, config.code_dim, config.width, config.relative_norm)


FUSIONS: dict[str, Callable[[FusionConfig, int], nn.Module]] = {
    "dpe": lambda config, hidden_size: _add(config, hidden_size, gated=False),
    "gated": lambda config, hidden_size: _add(config, hidden_size, gated=True),
    "mlp": _mlp,
    "pointmap": _pointmap,
    "rope": _rope,
}


def build_fusion(config: FusionConfig, hidden_size: int) -> nn.Module:
    """The module for a config: ``forward(tokens (T, D), grid: DepthGrid of T) -> (T, D)``."""
    return FUSIONS[config.name](config, hidden_size)
