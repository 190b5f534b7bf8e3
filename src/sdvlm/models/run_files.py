"""The files of a run with adapters: written from a model, read into one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from sdvlm.extras import require
from sdvlm.models import checkpoint
from sdvlm.models.adapters import adapter_settings, adapter_tensors, check_fit, fill_adapter
from sdvlm.models.base_model import Base
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

__all__ = ["FILES", "fill_run", "read_settings", "write_run"]

_SETTINGS, _ADAPTER, _FUSION = "adapter_config.json", "adapter_model.safetensors", "fusion.safetensors"
_PURPOSE = "a model with LoRA adapters"
FILES = ["*.json", "*.jinja", _ADAPTER, _FUSION]
"""patterns of all there are, the processor's included"""


def write_run(
    folder: Path, model: DepthVLM, base: Base, told: dict[str, Any], state: Mapping[str, Tensor] | None
) -> None:
    """Weights, settings and config of a model with adapters.

    Args:
        folder: to write them into.
        model, base: as ``run_folder.save_run``.
        told: of the base, as ``base_model.describe_base`` gives it.
        state: ``model.state_dict()``, gathered; None: the model's own.

    Raises:
        SdvlmError: the state lacks something.
    """
    tensors = {"format": "pt"}
    save_file(adapter_tensors(model, state), folder / _ADAPTER, metadata=tensors)
    fusion = _fusion_tensors(model, state)
    if fusion:
        save_file(fusion, folder / _FUSION, metadata=tensors)
    config: Any = copy.deepcopy(model.config)
    if told["files"] is None and told["revision"] is None:
        told = told | {"revision": getattr(config.vlm_config, "_commit_hash", None)}
    settings, at = copy.copy(adapter_settings(model)), Path(base.model)
    settings.inference_mode, settings.revision = True, told["revision"]
    settings.base_model_name_or_path = str(at.resolve()) if at.is_dir() else base.model
    kind = type(model.vlm)
    settings.save_pretrained(
        folder, auto_mapping_dict={"base_model_class": kind.__name__, "parent_library": kind.__module__}
    )
    if hasattr(config.vlm_config, "quantization_config"):
        del config.vlm_config.quantization_config  # how it was loaded to be trained, not what it is
    config.base, config.dtype = told, model.vlm.get_input_embeddings().weight.dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)


def _fusion_tensors(model: DepthVLM, state: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    names = [] if model.fusion is None else list(model.fusion.state_dict())
    state = model.state_dict() if state is None else state
    absent = [name for name in names if f"fusion.{name}" not in state]
    if absent:
        raise SdvlmError(f"the state to save lacks {len(absent)} tensors of the fusion, such as fusion.{absent[0]}")
    return {name: state[f"fusion.{name}"].detach().to("cpu").contiguous() for name in names}


def fill_run(model: DepthVLM, folder: Path) -> None:
    """Adapters, modules trained in full, and the fusion into a model made for them.

    Raises:
        SdvlmError: a file is not there or damaged, or does not fit; the model has not changed then.
    """
    adapter, fusion = _read(folder / _ADAPTER), {}
    wanted = {} if model.fusion is None else model.fusion.state_dict()
    if wanted or (folder / _FUSION).exists():
        fusion = _read(folder / _FUSION)
    check_fit(str(folder / _FUSION), fusion, {name: value.shape for name, value in wanted.items()})
    fill_adapter(model, adapter, str(folder / _ADAPTER))
    if model.fusion is not None:
        model.fusion.load_state_dict(fusion)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SdvlmError(f"'{path.parent}' has no {path.name}: half of a run; copy it again")
    with checkpoint.readable_errors(path.parent):
        return load_file(path)


def read_settings(folder: Path) -> tuple[Any, list[str]]:
    """PEFT's settings of a run, and the modules trained in full.

    Raises:
        SdvlmError: they are not there or damaged, or PEFT is not installed.
    """
    if not (folder / _SETTINGS).is_file():
        raise SdvlmError(f"'{folder}' has no {_SETTINGS}: half of a run; copy it again")
    with checkpoint.readable_errors(folder):
        settings = require("peft", _PURPOSE).LoraConfig.from_pretrained(str(folder))
    settings.inference_mode = False
    return settings, list(settings.modules_to_save or ())
