"""What a run tells while it goes: a line now and then, and TensorBoard files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import TensorBoardCallback

from sdvlm.extras import require

__all__ = ["SayCallback", "tensorboard"]


class SayCallback(TrainerCallback):
    """In the place of transformers' printing of dicts.

    Args:
        say: is given one line each time.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """A step's loss, or what the held-out answers cost."""
        if not logs or not state.is_local_process_zero:
            return
        if "loss" in logs:
            rate = f", learning rate {logs['learning_rate']:.3g}" if "learning_rate" in logs else ""
            self.say(f"step {state.global_step} of {state.max_steps}: loss {logs['loss']:.4f}{rate}")
        elif "eval_loss" in logs:
            without = logs.get("eval_without_depth_loss")
            told = "" if without is None else f", {without:.4f} without depth"
            self.say(f"step {state.global_step}: held-out loss {logs['eval_loss']:.4f}{told}")


def tensorboard(folder: Path) -> TensorBoardCallback:
    """Writes TensorBoard files into a folder.

    Raises:
        SdvlmError: tensorboard is not installed.
    """
    require("tensorboard", "TensorBoard files")
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoardCallback(SummaryWriter(log_dir=str(folder)))
