"""Depth for any Hugging Face vision-language model.

The names below are the public ones; each loads what it needs when it is first used, so that ``import sdvlm`` takes no
time. Everything else is reached through its module and may move between releases.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdvlm.answering import ask, load_model
    from sdvlm.depth.estimator import load_estimator
    from sdvlm.depth.frame import load_rgbd
    from sdvlm.depth.io import read_depth, write_depth
    from sdvlm.fusion.config import FusionConfig
    from sdvlm.models.prefix import answer_questions
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM
    from sdvlm.types import Box3D, Camera, DepthKind, DepthMap, RgbdFrame, SdvlmError

__version__ = "0.1.0"

__all__ = [
    "Box3D",
    "Camera",
    "DepthKind",
    "DepthMap",
    "DepthProcessor",
    "DepthVLM",
    "FusionConfig",
    "RgbdFrame",
    "SdvlmError",
    "answer_questions",
    "ask",
    "load_estimator",
    "load_model",
    "load_rgbd",
    "read_depth",
    "write_depth",
]

_HOME = {
    "Box3D": "types",
    "Camera": "types",
    "DepthKind": "types",
    "DepthMap": "types",
    "RgbdFrame": "types",
    "SdvlmError": "types",
    "DepthProcessor": "models.processor",
    "DepthVLM": "models.wrapper",
    "FusionConfig": "fusion.config",
    "answer_questions": "models.prefix",
    "ask": "answering",
    "load_model": "answering",
    "load_estimator": "depth.estimator",
    "load_rgbd": "depth.frame",
    "read_depth": "depth.io",
    "write_depth": "depth.io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sdvlm' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sdvlm.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
