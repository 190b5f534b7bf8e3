"""What a fine-tuning run leaves: a folder that loads as a ``DepthVLM``, and whose adapters stock PEFT loads.

With adapters: ``adapter_config.json`` and ``adapter_model.safetensors`` as PEFT writes them, ``fusion.safetensors``,
``config.json`` (a ``DepthVLMConfig`` with ``base``: what the adapters belong to) and the processor's files. Without:
the folder ``DepthVLM.save_pretrained`` writes.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdvlm.extras import require
from sdvlm.models import checkpoint
from sdvlm.models.adapters import (
    adapter_settings,
    adapter_tensors,
    check_fit,
    fill_adapter,
    inject,
    merge_adapter,
)
from sdvlm.models.base_model import Base, describe_base, find_base, load_base
from sdvlm.models.config import DepthVLMConfig
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

__all__ = ["Base", "is_run", "load_run", "load_weights_into", "merge_run", "save_run"]

_SETTINGS, _ADAPTER, _FUSION = "adapter_config.json", "adapter_model.safetensors", "fusion.safetensors"
_WANTED = ["*.json", "*.jinja", _ADAPTER, _FUSION]
_PURPOSE = "a model with LoRA adapters"


def save_run(
    folder: str | os.PathLike[str],
    model: DepthVLM,
    processor: Any,
    base: Base,
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a run's folder, whole or not at all: after a failure or a kill it holds what it held before.

    Args:
        folder: made if needed; a run in it is replaced, other files stay.
        model: with adapters (``adapters.add_lora``) or without.
        processor: its ``DepthProcessor``; None: no processor's files are written.
        base: what the model was made from.
        state_dict: of ``model``, gathered, where its parameters are spread over devices.

    Raises:
        SdvlmError: it cannot be written, or the state lacks something.
    """
    try:
        with checkpoint.written_whole(folder) as new:
            if adapter_settings(model) is None:
                model.save_pretrained(new, state_dict=state_dict)
            else:
                _write(new, model, base, describe_base(base, folder), state_dict)
            if processor is not None:
                processor.save_pretrained(new)
    except (OSError, SafetensorError) as error:
        said = " ".join(str(error).split())
        raise SdvlmError(f"cannot save '{folder}': {said}; what it held before is unchanged") from error


def is_run(folder_or_id: str | os.PathLike[str], **hub: Any) -> bool:
    """Whether a folder or hub id holds adapters and fusion of a run; no folder, or no config: it does not."""
    folder = Path(folder_or_id)
    if folder.is_dir():
        checkpoint.finish_saving(folder)
        if not (folder / "config.json").is_file():
            return False
    try:
        config = checkpoint.read_config(folder_or_id, **hub)
    except SdvlmError:
        return False  # loading says what is wrong
    return config.get("model_type") == DepthVLMConfig.model_type and config.get("base") is not None


def load_run(
    folder_or_id: str | os.PathLike[str],
    dtype: torch.dtype | str | None = None,
    base: str | os.PathLike[str] | None = None,
    **load: Any,
) -> DepthVLM:
    """The trained model, its adapters in it unmerged, in eval mode.

    Args:
        folder_or_id: with adapters, as :func:`save_run` writes it.
        dtype: of the base's weights, the fusion and modules trained in full; None and "auto": as in training. Adapters
            stay as stored, which is float32.
        base: where the base lies now, if no longer where it was; it must be the same model.
        load: where the run lies on a hub (``checkpoint.HUB``), and what loading the base takes beside that, such as
            device_map, attn_implementation or quantization_config.

    Raises:
        SdvlmError: no run there, another base, or anything damaged, missing, left over or misshapen.
    """
    dtype = load.pop("torch_dtype", dtype)
    folder = _local(folder_or_id, {name: load.pop(name) for name in ("revision", "subfolder") if name in load}, load)
    config = _config(folder)
    assert config.base is not None
    settings, trained = _settings(folder)
    found = find_base(config.base, folder, settings.base_model_name_or_path or "", base)
    stored = getattr(config, "dtype", None) or "auto"
    vlm = load_base(found, stored if dtype in (None, "auto") else dtype, **load)
    config.base, config.vlm_config = None, vlm.config
    model = DepthVLM(config, vlm=vlm)
    inject(model, settings, trained, empty=True)
    _fill(model, folder)
    if model.fusion is not None:
        model.fusion.to(device=vlm.device, dtype=vlm.get_input_embeddings().weight.dtype)
    return model.eval()  # type: ignore[no-any-return]


def load_weights_into(model: DepthVLM, folder: str | os.PathLike[str]) -> None:
    """Put a run's weights into the model that training was set up with; values are cast to its dtypes.

    Args:
        model: changed in place, only if all fits.
        folder: as :func:`save_run` wrote it, with adapters or without as the model is.

    Raises:
        SdvlmError: the folder is of a model set up in another way, or as :func:`load_run`.
    """
    place = Path(folder)
    checkpoint.check_kind(place, DepthVLMConfig.model_type)
    config, ours = DepthVLMConfig.from_pretrained(place), adapter_settings(model)
    if config.fusion_settings != model.config.fusion_settings:
        raise SdvlmError(f"'{folder}' was trained with another fusion ({config.fusion}) than {model.config.fusion}")
    if (config.base is None) != (ours is None):
        has, wanted = ("no adapters", "some") if config.base is None else ("adapters", "none")
        raise SdvlmError(f"'{folder}' was trained with {has}, this model has {wanted}; resume with the same settings")
    if ours is None:
        state = DepthVLM.from_pretrained(place).state_dict()
        check_fit(str(folder), state, {name: value.shape for name, value in model.state_dict().items()})
        model.load_state_dict(state)
        return
    theirs, trained = _settings(place)
    for name in ("r", "lora_alpha", "target_modules"):
        if getattr(ours, name) != getattr(theirs, name):
            raise SdvlmError(f"'{folder}' was trained with {name} {getattr(theirs, name)}, not {getattr(ours, name)}")
    if trained != list(ours.modules_to_save or ()):
        raise SdvlmError(f"'{folder}' was trained with {trained} in full, not {ours.modules_to_save or 'nothing'}")
    _fill(model, place)


def merge_run(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], base: str | os.PathLike[str] | None = None
) -> int:
    """Write a run as a plain ``DepthVLM`` folder: the same logits up to the rounding of the merged weights.

    Args:
        folder: of the run, or its hub id.
        out: a folder that does not exist yet or is empty.
        base: as :func:`load_run`.

    Returns:
        how many layers had adapters.

    Raises:
        SdvlmError: there is something at ``out``, nothing to merge, or as :func:`load_run`.
    """
    from sdvlm.models.processor import DepthProcessor

    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SdvlmError(f"'{out}' is there already; name a new folder")
    if not is_run(folder):
        checkpoint.check_kind(folder, DepthVLMConfig.model_type)
        raise SdvlmError(f"'{folder}' holds no adapters, so there is nothing to merge: it is a plain model already")
    processor = DepthProcessor.from_pretrained(folder)
    model = load_run(folder, base=base)
    merged = merge_adapter(model)
    save_run(target, model, processor, Base(str(folder)))
    return merged


def _write(folder: Path, model: DepthVLM, base: Base, told: dict[str, Any], state: Mapping[str, Tensor] | None) -> None:
    """The files of a run with adapters."""
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


def _fill(model: DepthVLM, folder: Path) -> None:
    """Adapters, modules trained in full, and the fusion."""
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


def _config(folder: Path) -> DepthVLMConfig:
    if not is_run(folder):
        checkpoint.check_kind(folder, DepthVLMConfig.model_type)
        raise SdvlmError(f"'{folder}' is no run with adapters; load it with DepthVLM.from_pretrained")
    with checkpoint.readable_errors(folder):
        return DepthVLMConfig.from_pretrained(folder)


def _settings(folder: Path) -> tuple[Any, list[str]]:
    """PEFT's settings of a run, and the modules trained in full."""
    if not (folder / _SETTINGS).is_file():
        raise SdvlmError(f"'{folder}' has no {_SETTINGS}: half of a run; copy it again")
    with checkpoint.readable_errors(folder):
        settings = require("peft", _PURPOSE).LoraConfig.from_pretrained(str(folder))
    settings.inference_mode = False
    return settings, list(settings.modules_to_save or ())


def _local(folder_or_id: str | os.PathLike[str], place: Mapping[str, Any], load: Mapping[str, Any]) -> Path:
    """The run's files on this disk."""
    if Path(folder_or_id).is_dir() or not is_run(folder_or_id, **place, **load):
        return Path(folder_or_id)
    from huggingface_hub import snapshot_download

    hub = {name: load[name] for name in ("token", "cache_dir", "local_files_only") if name in load}
    with checkpoint.readable_errors(folder_or_id):
        found = snapshot_download(str(folder_or_id), allow_patterns=_WANTED, revision=place.get("revision"), **hub)
    return Path(found, place.get("subfolder") or "")
