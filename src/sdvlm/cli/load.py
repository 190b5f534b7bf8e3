"""Loading a model for a verb: as ``answering.load_model``, without progress bars where nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load_quietly"]


def load_quietly(
    model: str, device: str | None = None, mode: str | None = None, conversation: str | None = None
) -> tuple[Any, Any]:
    """Model and processor; reading weights from disk shows no progress bar, a download does."""
    from transformers.utils.logging import disable_progress_bar

    from sdvlm.answering import NANO, load_model

    if model == NANO or Path(model).is_dir():
        disable_progress_bar()
    options = {"mode": mode, "conversation": conversation}
    return load_model(model, device, **{name: value for name, value in options.items() if value is not None})
