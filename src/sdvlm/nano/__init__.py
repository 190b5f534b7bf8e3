"""The embedded model: a LLaVA of a few million parameters that runs offline on any CPU.

Its weights ship with the package (``nano/weights``); ``nano/weights/README.md`` is its card.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["load_nano"]


def load_nano() -> tuple[DepthVLM, DepthProcessor]:
    """The shipped model, float32 on the CPU and ready to answer, and its processor.

    Raises:
        SdvlmError: the weights are missing or damaged.
    """
    import torch

    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

    with as_file(files("sdvlm.nano") / "weights") as folder:
        model = DepthVLM.from_pretrained(folder, dtype=torch.float32)
        processor = DepthProcessor.from_pretrained(folder)
    model.train(False)
    return model, processor
