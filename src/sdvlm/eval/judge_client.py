"""A judge is a model behind an endpoint; only what messages call it is its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sdvlm.endpoint.config import EndpointConfig

__all__ = ["JudgeConfig"]


@dataclass(frozen=True)
class JudgeConfig(EndpointConfig):
    """Whom to ask for a verdict, and how; fields as in :class:`~sdvlm.endpoint.config.EndpointConfig`."""

    role: ClassVar[str] = "judge"
    model_option: ClassVar[str] = "--judge-model"
    url_option: ClassVar[str] = "--judge"
