"""What a fine-tuning run leaves: a folder that loads as a ``DepthVLM``, and whose adapters stock PEFT loads.

With adapters: ``adapter_config.json`` and ``adapter_model.safetensors`` as PEFT writes them, ``fusion.safetensors``,
``config.json`` (a ``DepthVLMConfig`` with ``base``: what the adapters belong to) and the processor's files. Without:
the folder ``DepthVLM.save_pretrained`` writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from sdvlm.models import checkpoint
from sdvlm.models.adapters import adapter_settings, check_fit, inject, merge_adapter
from sdvlm.models.base_model import Base, describe_base, find_base, load_base
from sdvlm.models.config import DepthVLMConfig
from sdvlm.models.run_files import FILES, fill_run, read_settings, write_run
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

__all__ = ["Base", "is_run", "load_run", "load_weights_into", "merge_run", "save_run"]


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
                write_run(new, model, base, describe_base(base, folder), state_dict)
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
    settings, trained = read_settings(folder)
    found = find_base(config.base, folder, settings.base_model_name_or_path or "", base)
    stored = getattr(config, "dtype", None) or "auto"
    vlm = load_base(found, stored if dtype in (None, "auto") else dtype, **load)
    config.base, config.vlm_config = None, vlm.config
    model = DepthVLM(config, vlm=vlm)
    inject(model, settings, trained, empty=True)
    fill_run(model, folder)
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
    theirs, trained = read_settings(place)
    for name in ("r", "lora_alpha", "target_modules"):
        if getattr(ours, name) != getattr(theirs, name):
            raise SdvlmError(f"'{folder}' was trained with {name} {getattr(theirs, name)}, not {getattr(ours, name)}")
    if trained != list(ours.modules_to_save or ()):
        raise SdvlmError(f"'{folder}' was trained with {trained} in full, not {ours.modules_to_save or 'nothing'}")
    fill_run(model, place)


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


def _config(folder: Path) -> DepthVLMConfig:
    if not is_run(folder):
        checkpoint.check_kind(folder, DepthVLMConfig.model_type)
        raise SdvlmError(f"'{folder}' is no run with adapters; load it with DepthVLM.from_pretrained")
    with checkpoint.readable_errors(folder):
        return DepthVLMConfig.from_pretrained(folder)


def _local(folder_or_id: str | os.PathLike[str], place: Mapping[str, Any], load: Mapping[str, Any]) -> Path:
    """The run's files on this disk."""
    if Path(folder_or_id).is_dir() or not is_run(folder_or_id, **place, **load):
        return Path(folder_or_id)
    from huggingface_hub import snapshot_download

    hub = {name: load[name] for name in ("token", "cache_dir", "local_files_only") if name in load}
    with checkpoint.readable_errors(folder_or_id):
        found = snapshot_download(str(folder_or_id), allow_patterns=FILES, revision=place.get("revision"), **hub)
    return Path(found, place.get("subfolder") or "")
