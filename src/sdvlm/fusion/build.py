"""From a fusion's settings to its module.

A module's ``forward(tokens (T, D), grid of T)`` gives (T, D): image tokens to take the place of those given, or, where
its place is ``picture``, tokens to stand behind them. What reads pixels first turns them into depth tokens
(``encode``), which come third. ``adapter`` acts inside the tower and has no forward; ``depth_image`` and
``depth_prompt`` act on the prompt alone and have no module.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sdvlm.fusion.add import AddDepthCode
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_token import DepthTokens
from sdvlm.fusion.learned import DepthMLP, PointMapMLP
from sdvlm.fusion.rotary import RotateByDepth
from sdvlm.types import SdvlmError

__all__ = ["FUSIONS", "build_fusion"]


def _add(config: FusionConfig, hidden_size: int, gated: bool) -> nn.Module:
    sizes = (config.scale, config.base, config.relative_norm)
    return AddDepthCode(hidden_size, config.coordinate, *sizes, gated, config.sine_dtype)


def _rope(config: FusionConfig, hidden_size: int, host: nn.Module | None) -> nn.Module:
    return RotateByDepth(hidden_size, config.coordinate, config.scale, config.base)


def _mlp(config: FusionConfig, hidden_size: int, host: nn.Module | None) -> nn.Module:
    sizes = (config.code_dim, config.width, config.relative_norm)
    return DepthMLP(hidden_size, config.coordinate, config.scale, config.base, *sizes)


def _pointmap(config: FusionConfig, hidden_size: int, host: nn.Module | None) -> nn.Module:
    return PointMapMLP(hidden_size, config.scale, config.base, config.code_dim, config.width, config.relative_norm)


def _encoder_add(config: FusionConfig, hidden_size: int, host: nn.Module | None) -> nn.Module:
    from sdvlm.fusion.encoder_tokens import AddEncoded  # which needs transformers, as a tower does

    return AddEncoded(hidden_size, *_seen_by(config, host), config.relative_norm)


def _concat(config: FusionConfig, hidden_size: int, host: nn.Module | None) -> nn.Module:
    from sdvlm.fusion.encoder_tokens import ConcatEncoded

    return ConcatEncoded(*_seen_by(config, host))


def _depth_token(config: FusionConfig, hidden_size: int, host: nn.Module | None) -> nn.Module:
    return DepthTokens(hidden_size, config.bins, config.coordinate, config.relative_norm)


def _adapter(config: FusionConfig, hidden_size: int, host: nn.Module | None) -> nn.Module:
    from sdvlm.fusion.adapter import SideAdapter

    return SideAdapter(*_seen_by(config, host), stages=config.stages)


def _seen_by(config: FusionConfig, host: nn.Module | None) -> tuple[nn.Module, int]:
    """The host model and how many planes of a depth map the fusion sees."""
    channels = config.depth_channels
    if host is None or channels is None:
        raise SdvlmError(f"the fusion '{config.name}' is made from a vision tower; build it with DepthVLM.from_vlm")
    return host, channels.count


FUSIONS: dict[str, Callable[[FusionConfig, int, nn.Module | None], nn.Module]] = {
    "dpe": lambda config, hidden_size, host: _add(config, hidden_size, gated=False),
    "gated": lambda config, hidden_size, host: _add(config, hidden_size, gated=True),
    "mlp": _mlp,
    "pointmap": _pointmap,
    "rope": _rope,
    "encoder_add": _encoder_add,
    "concat": _concat,
    "depth_token": _depth_token,
    "adapter": _adapter,
}


def build_fusion(config: FusionConfig, hidden_size: int, host: nn.Module | None = None) -> nn.Module:
    """The module for a config.

    Args:
        config: which fusion.
        hidden_size: D of the image tokens.
        host: the vision-language model without its head, for fusions made from its vision tower.

    Raises:
        SdvlmError: the fusion has no module (``config.DRAWN_OR_WORDED``), needs a host and there is none, or the host's
            tower is of no known build.
    """
    if config.name not in FUSIONS:
        raise SdvlmError(f"the fusion '{config.name}' puts depth into the prompt and has no module")
    made = FUSIONS[config.name](config, hidden_size, host)
    if not config.early:
        return made
    from sdvlm.fusion.early import EarlyDepth  # which needs transformers, as a tower does

    return EarlyDepth(*_seen_by(config, host), made)
