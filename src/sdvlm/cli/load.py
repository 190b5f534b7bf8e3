"""Loading a model for a verb: as ``answering.load_model``, without progress bars where nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load_quietly", "no_bars_for"]


def load_quietly(
    model: str, device: str | None = None, mode: str | None = None, conversation: str | None = None
) -> tuple[Any, Any]:
    """Model and processor; reading weights from disk shows no progress bar, a download does."""
    from sdvlm.answering import NANO, load_model

    no_bars_for("." if model == NANO else model)
    options = {"mode": mode, "conversation": conversation}
    return load_model(model, device, **{name: value for name, value in options.items() if value is not None})


def no_bars_for(model: str) -> None:
    """No progress bars while a folder is read, which takes no time; a download keeps its own."""
    from transformers.utils.logging import disable_progress_bar

    if Path(model).is_dir():
        disable_progress_bar()
