"""``transformers.TrainingArguments`` of a run: a recipe's own, and defaults that keep a run to itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from sdvlm.train.config import TrainConfig
from sdvlm.types import SdvlmError

__all__ = ["training_arguments"]

_OWN = ("output_dir", "remove_unused_columns", "label_names")


def training_arguments(config: TrainConfig, out: Path, world: int = 1) -> TrainingArguments:
    """Arguments whose accumulation makes up the global batch.

    Nothing is tracked and nothing uploaded unless the recipe says so (``report_to``, ``push_to_hub``).

    Args:
        config: of the run.
        out: of the run; checkpoints go into ``out/checkpoints``.
        world: processes.

    Raises:
        SdvlmError: an argument there is not, a global batch that does not come out even, or a value transformers
            refuses.
    """
    given = dict(config.arguments)
    known = {field.name for field in fields(TrainingArguments) if field.init}
    for name in given:
        if name not in known or name in _OWN:
            raise SdvlmError(f"arguments.{name} is no field of transformers.TrainingArguments that a run can set")
    each = int(given.get("per_device_train_batch_size", 1))
    if "gradient_accumulation_steps" not in given:
        if config.global_batch % (each * world):
            raise SdvlmError(
                f"global_batch {config.global_batch} is no multiple of {world} processes times "
                f"per_device_train_batch_size {each}; change one of them"
            )
        given["gradient_accumulation_steps"] = config.global_batch // (each * world)
    values: dict[str, Any] = {
        "report_to": [],
        "per_device_train_batch_size": each,
        "per_device_eval_batch_size": each,
        "save_strategy": "steps",
        "eval_strategy": "steps" if config.heldout else "no",
        "dataloader_pin_memory": False,
        "ddp_find_unused_parameters": False,
        "disable_tqdm": True,
        "seed": 0,
    } | given
    try:
        return TrainingArguments(
            output_dir=str(out / "checkpoints"), remove_unused_columns=False, label_names=["labels"], **values
        )
    except (TypeError, ValueError) as error:
        raise SdvlmError(f"transformers refuses the arguments: {' '.join(str(error).split())}") from error
