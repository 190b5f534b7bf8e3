"""``transformers.TrainingArguments`` of a run: a recipe's own, and defaults that keep a run to itself."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from sdvlm.extras import require
from sdvlm.train.config import TrainConfig
from sdvlm.types import SdvlmError

__all__ = ["training_arguments"]

_OWN = {
    "output_dir": "is the run's own folder",
    "remove_unused_columns": "is not for these data",
    "label_names": "is not for these data",
    "resume_from_checkpoint": "is decided by the run's folder (--resume, --no-resume)",
    "label_smoothing_factor": "is not in our loss",
    "train_sampling_strategy": "is not in our order of the mixture",
    "auto_find_batch_size": "would change global_batch",
}
"""fields that a recipe cannot set, as the run would go wrong or leave them unheard"""
_SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def training_arguments(config: TrainConfig, out: Path, world: int = 1) -> TrainingArguments:
    """Arguments whose accumulation makes up the global batch.

    Nothing is tracked and nothing uploaded unless the recipe says so (``report_to``, ``push_to_hub``). One process
    uses one GPU; ``torchrun`` or ``accelerate launch`` start more.

    Args:
        config: of the run.
        out: of the run; checkpoints go into ``out/checkpoints``.
        world: processes.

    Raises:
        SdvlmError: an argument there is not, a global batch that does not come out even, a value transformers
            refuses, or DeepSpeed asked for (``deepspeed: FILE``) and not installed.
    """
    given = {name: _as_meant(name, value) for name, value in config.arguments.items()}
    known = {field.name for field in fields(TrainingArguments) if field.init}
    for name in given:
        if name in _OWN:
            raise SdvlmError(f"arguments.{name} {_OWN[name]}; leave it out")
        if name not in known:
            raise SdvlmError(f"arguments.{name} is no field of transformers.TrainingArguments")
    if given.get("deepspeed"):
        require("deepspeed", "arguments.deepspeed")  # asked first: transformers would keep half a configuration
    each = given.setdefault("per_device_train_batch_size", 1)
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        number = given.get(name, 1)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise SdvlmError(f"arguments.{name} must be a whole number of at least 1; got {number!r}")
    if "gradient_accumulation_steps" not in given:
        if config.global_batch % (each * world):
            raise SdvlmError(
                f"global_batch {config.global_batch} is no multiple of {world} processes times "
                f"per_device_train_batch_size {each}; change one of them"
            )
        given["gradient_accumulation_steps"] = config.global_batch // (each * world)
    half = config.dtype in ("bfloat16", "float16") or (config.dtype == "auto" and torch.cuda.is_available())
    values: dict[str, Any] = {
        "bf16": half and not given.get("fp16"),  # what is trained is float32 beside frozen weights of 16 bit
        "report_to": [],
        "per_device_eval_batch_size": each,
        "save_strategy": "steps",
        "eval_strategy": "steps" if config.heldout else "no",
        "dataloader_pin_memory": False,
        "ddp_find_unused_parameters": False,
        "disable_tqdm": True,
        "seed": 0,
    } | given
    try:
        made = TrainingArguments(
            output_dir=str(out / "checkpoints"), remove_unused_columns=False, label_names=["labels"], **values
        )
        if made.n_gpu > 1:
            made._n_gpu = 1  # else transformers would cut packed rows apart between GPUs (DataParallel)
    except (ArithmeticError, AttributeError, ImportError, KeyError, OSError, TypeError, ValueError) as error:
        raise SdvlmError(f"transformers refuses the arguments: {' '.join(str(error).split())}") from error
    return made


def _as_meant(name: str, value: Any) -> Any:
    """YAML 1.1 reads ``1e-4`` as text and ``no`` as false."""
    if isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
        return float(value)
    return "no" if value is False and name.endswith("_strategy") else value
