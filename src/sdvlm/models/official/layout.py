"""What makes a folder an official checkpoint, and where its parts lie."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from sdvlm.models.checkpoint import HUB
from sdvlm.models.official.adapters import AdaptedTensors
from sdvlm.models.official.tensors import TensorFiles, Tensors, weight_files
from sdvlm.types import SdvlmError

__all__ = ["OfficialFolder", "find_folder", "is_official", "open_official", "read_json"]

_MODEL_TYPES = ("llava_llama", "llava")
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
_WANTED = ["*.json", "*.safetensors", "*.bin", "*.model", "*.jinja"]


@dataclass(frozen=True)
class OfficialFolder:
    """An official checkpoint on this disk.

    Args:
        folder: its own.
        config: its ``config.json``.
        tensors: released names; an adapter is merged into its base as they are read.
        base: folder that an adapter belongs to; None: the folder is a whole checkpoint.
        told_depth: its ``depth_config.json``, None where there is none (as in released ones).
    """

    folder: Path
    config: dict[str, Any]
    tensors: Tensors
    base: Path | None = None
    told_depth: dict[str, Any] | None = None

    @property
    def places(self) -> list[Path]:
        """Where files beside the weights may lie: tokenizer, processor and generation config."""
        return [self.folder] if self.base is None else [self.folder, self.base]

    def beside(self, name: str) -> Path | None:
        """The first file of that name in :attr:`places`."""
        return next((place / name for place in self.places if (place / name).is_file()), None)


def is_official(folder_or_id: str | PathLike[str], **hub: Any) -> bool:
    """Whether a folder or hub id is a checkpoint in the official layout, by what is in it, whatever its name.

    That is: the config is LLaVA's own (``llava_llama``, ``mm_*`` fields, no ``vision_config``), and the weights, where
    they are on this disk, have its names.
    """
    folder = Path(folder_or_id)
    config = _config(folder) if folder.is_dir() else _hub_config(str(folder_or_id), **hub)
    if config is None or config.get("model_type") not in _MODEL_TYPES or "vision_config" in config:
        return False
    if "mm_vision_tower" not in config:
        return False
    if not folder.is_dir() or (folder / "adapter_config.json").is_file():
        return True
    try:
        names = TensorFiles(weight_files(folder)).stored
    except SdvlmError:
        return True  # loading says what is wrong with them
    return any(".mm_projector." in name for name in names)


def open_official(
    folder_or_id: str | PathLike[str], base: str | PathLike[str] | None = None, **hub: Any
) -> OfficialFolder:
    """The parts of an official checkpoint; what is on a hub is downloaded first.

    Args:
        folder_or_id: a merged checkpoint, or an adapter folder as the training script writes it.
        base: what an adapter belongs to; None: what its ``adapter_config.json`` names.
        hub: revision, token, cache_dir, local_files_only.

    Raises:
        SdvlmError: it is no official checkpoint, or a part is absent or damaged.
    """
    folder = find_folder(folder_or_id, [], **hub)
    config = None if folder is None else _config(folder)
    if folder is None or config is None:
        raise SdvlmError(f"no official checkpoint at '{folder_or_id}'; give a folder with config.json, or a hub id")
    if config.get("model_type") not in _MODEL_TYPES or "mm_vision_tower" not in config:
        raise SdvlmError(f"'{folder_or_id}' holds a '{config.get('model_type')}' model, not an official SD-VLM one")
    told = read_json(folder / "depth_config.json")
    adapter = next((folder / name for name in _ADAPTER if (folder / name).is_file()), None)
    if adapter is None:
        return OfficialFolder(folder, config, TensorFiles(weight_files(folder)), None, told)
    settings = read_json(folder / "adapter_config.json")
    if settings is None:
        raise SdvlmError(f"{folder} has {adapter.name} but no adapter_config.json; copy it from where it was trained")
    place = base or settings.get("base_model_name_or_path") or ""
    found = find_folder(place, [folder, folder.parent], **hub)
    if found is None:
        raise SdvlmError(f"the base '{place}' of the adapter {folder} is not here; give it with base= (--base)")
    trained = folder / "non_lora_trainables.bin"
    whole = TensorFiles([trained]) if trained.is_file() else None
    tensors = AdaptedTensors(TensorFiles(weight_files(found)), TensorFiles([adapter]), settings, whole)
    return OfficialFolder(folder, config, tensors, found, told or read_json(found / "depth_config.json"))


def find_folder(place: str | PathLike[str], around: list[Path], download: bool = True, **hub: Any) -> Path | None:
    """The folder that a config names: as it is, within one of the folders ``around``, or downloaded by its hub id."""
    path = Path(place).expanduser()
    if not str(place):
        return None
    around = [Path(os.path.abspath(folder)) for folder in around]
    for candidate in (path, *(folder / path for folder in around), *(folder / path.name for folder in around)):
        if candidate.is_dir():
            return candidate
    if not download or path.parent.is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(place)):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    known = {name: hub[name] for name in HUB if name in hub and name != "subfolder"}
    try:
        return Path(snapshot_download(str(place), allow_patterns=_WANTED, **known))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SdvlmError(
            f"cannot download '{place}': {said}; check the id and the network, or give a folder"
        ) from error


def _config(folder: Path) -> dict[str, Any] | None:
    return read_json(folder / "config.json")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, None where there is no such file."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SdvlmError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise SdvlmError(f"{path} holds no JSON object")
    return found


def _hub_config(name: str, **hub: Any) -> dict[str, Any] | None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or Path(name).parent.is_dir():
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    known = {key: hub[key] for key in HUB if key in hub}
    try:
        return read_json(Path(hf_hub_download(name, "config.json", **known)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None  # whoever loads it says what is wrong
