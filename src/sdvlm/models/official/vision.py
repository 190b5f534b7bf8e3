"""The CLIP tower of an official checkpoint: its sizes, and where its weights lie.

``mm_vision_tower`` in the config names a folder or a hub id. A merged checkpoint carries the tower's weights too. The
released loader reads the named place whatever the checkpoint holds, unless the config says that the tower was trained
(``unfreeze_mm_vision_tower``). So does this one where that folder is on this disk; else it takes what is carried.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig

from sdvlm.models.official.layout import OfficialFolder, find_folder
from sdvlm.models.official.tensors import Stored, TensorFiles, Tensors, weight_files
from sdvlm.types import SdvlmError

__all__ = ["CARRIED", "Tower", "find_tower"]

_log = logging.getLogger(__name__)
CARRIED = "model.vision_tower.vision_tower.vision_model."
"""what the names of a tower begin with in a merged checkpoint"""

_SEPARATE = "vision_model."
_HEAD_WIDTH = 64  # of every released CLIP tower


@dataclass(frozen=True)
class Tower:
    """A CLIP vision tower.

    Args:
        config: its sizes.
        tensors: what its weights are read from.
        prefix: of its names there; the rest is stock.
        folder: with its own config and preprocessor files, None where there is none.
    """

    config: CLIPVisionConfig
    tensors: Tensors
    prefix: str
    folder: Path | None


def find_tower(official: OfficialFolder, **hub: Any) -> Tower:
    """The tower a checkpoint uses.

    Raises:
        SdvlmError: the checkpoint does not carry its weights and the named place is not to be had, or holds no CLIP.
    """
    named = str(official.config["mm_vision_tower"])
    around = [place for folder in official.places for place in (folder, Path(os.path.abspath(folder)).parent)]
    carried = any(name.startswith(CARRIED) for name in official.tensors.stored)
    here = find_folder(named, around, download=not carried, **hub)
    tensors: Tensors = official.tensors
    prefix = CARRIED
    trained = bool(official.config.get("unfreeze_mm_vision_tower"))
    if not carried or (not trained and here is not None and _has_weights(here)):
        if here is None:
            raise SdvlmError(
                f"the checkpoint carries no CLIP weights and its tower '{named}' is not here; put that folder beside it"
            )
        tensors = TensorFiles(weight_files(here))
        prefix = _SEPARATE if any(name.startswith(_SEPARATE) for name in tensors.stored) else ""  # newer files lack it
    inner = {name.removeprefix(prefix): known for name, known in tensors.stored.items() if name.startswith(prefix)}
    told = None if here is None or not (here / "config.json").is_file() else _told(here)
    if told is None:
        _log.info("no config of the tower '%s' is here; its sizes are taken from its weights", named)
    return Tower(told or _inferred(inner, named), tensors, prefix, here)


def _has_weights(folder: Path) -> bool:
    try:
        return bool(weight_files(folder))
    except SdvlmError:
        return False


def _told(folder: Path) -> CLIPVisionConfig:
    """From the tower's own config, of the tower alone or of a whole CLIP."""
    try:
        values, _ = CLIPVisionConfig.get_config_dict(folder)
        if values.get("model_type") == "clip":
            values = values.get("vision_config") or {}
        elif values.get("model_type") != "clip_vision_model":
            raise SdvlmError(f"the tower {folder} is a '{values.get('model_type')}' model; a CLIP is wanted")
        found: CLIPVisionConfig = CLIPVisionConfig.from_dict(values)
        return found
    except (OSError, ValueError) as error:
        if isinstance(error, SdvlmError):
            raise
        raise SdvlmError(f"the config of the tower {folder} cannot be read: {error}") from error


def _inferred(stored: Mapping[str, Stored], named: str) -> CLIPVisionConfig:
    """From the weights' shapes. Heads are 64 wide and the activation is CLIP's own in every released tower."""
    try:
        width = stored["embeddings.class_embedding"].shape[0]
        patch = stored["embeddings.patch_embedding.weight"].shape[-1]
        cells = math.isqrt(stored["embeddings.position_embedding.weight"].shape[0] - 1)
        inner = stored["encoder.layers.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise SdvlmError(f"the tower '{named}' has no weights {error.args[0]}; it is no CLIP, or incomplete") from error
    if width % _HEAD_WIDTH:
        raise SdvlmError(
            f"the tower '{named}' is {width} wide, of no released size; put the folder with its config.json beside the "
            "checkpoint, which says how many heads it has"
        )
    numbers = [int(found[1]) for name in stored if (found := re.match(r"encoder\.layers\.(\d+)\.", name))]
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=max(numbers) + 1,
        num_attention_heads=width // _HEAD_WIDTH,
        image_size=cells * patch,
        patch_size=patch,
    )
