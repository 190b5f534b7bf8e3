"""The embedded model: a LLaVA of a few million parameters that runs offline on any CPU.

Its weights ship with the package (``nano/weights``); ``nano/weights/README.md`` is its card.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["NANO_FOLDER", "load_nano"]

NANO_FOLDER = Path(__file__).parent / "weights"
"""the shipped checkpoint"""


def load_nano() -> tuple[DepthVLM, DepthProcessor]:
    """The shipped model, float32 on the CPU and ready to answer, and its processor.

    Raises:
        SdvlmError: the weights are missing or damaged.
    """
    import torch

    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

    model = DepthVLM.from_pretrained(NANO_FOLDER, dtype=torch.float32)
    processor = DepthProcessor.from_pretrained(NANO_FOLDER)
    model.train(False)
    return model, processor
