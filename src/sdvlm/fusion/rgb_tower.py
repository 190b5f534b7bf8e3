"""The RGB vision tower of a model on disk or hub, with what a depth tower made from it takes over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from sdvlm.fusion.pixel_layout import is_packed
from sdvlm.fusion.towers import find_tower
from sdvlm.types import SdvlmError

__all__ = ["RgbTower", "load_image_processor", "load_rgb_tower", "readable_errors", "rgb_tower_of"]

_WITH_DEPTH, _DEPTH_ENCODER = "sdvlm", "sdvlm_depth_encoder"


@dataclass(frozen=True, eq=False)
class RgbTower:
    """A vision tower and how it is used.

    Args:
        tower: reads RGB.
        image_processor: makes its pictures.
        layer: index into its hidden states that its features are read from; None: its last hidden state.
    """

    tower: PreTrainedModel
    image_processor: Any
    layer: int | None


def rgb_tower_of(model: nn.Module, image_processor: Any = None) -> RgbTower:
    """The vision tower of a loaded model: of a tower, a vision-language model, CLIP or a classifier.

    Args:
        model: taken, not copied.
        image_processor: None: one that stretches a picture to the tower's size, or to whole patches where a tower
            takes any size.

    Raises:
        SdvlmError: there is no such tower, or it takes several sizes and none of them is the tower's own.
    """
    tower = find_tower(model)
    layer = getattr(getattr(model, "config", None), "vision_feature_layer", None)
    if isinstance(layer, list | tuple):  # several layers side by side: the deepest is what all of the tower serves
        layer = max(layer, key=lambda one: one if one >= 0 else tower.config.num_hidden_layers + 1 + one)
    return RgbTower(tower, image_processor or _own_geometry(tower.config), layer)


def load_rgb_tower(folder_or_id: str | PathLike[str], dtype: torch.dtype = torch.float32) -> RgbTower:
    """The vision tower of a folder or hub id: a tower, CLIP, a vision-language model, or one of ours with depth.

    The whole model is read, in the dtype it is stored in, and all but the tower let go.

    Args:
        folder_or_id: where to.
        dtype: of the tower.

    Raises:
        SdvlmError: nothing there, a depth encoder (it reads no RGB), damaged files, or no vision tower inside.
    """
    with readable_errors(folder_or_id):
        config, _ = PreTrainedConfig.get_config_dict(folder_or_id)
        if config.get("model_type") == _DEPTH_ENCODER:
            raise SdvlmError(
                f"'{folder_or_id}' is a depth encoder, which reads no RGB; load it with DepthEncoder.from_pretrained"
            )
        if config.get("model_type") == _WITH_DEPTH:
            model = _without_depth(_folder(folder_or_id), config)
        else:
            model = AutoModel.from_pretrained(folder_or_id, dtype="auto", use_safetensors=True)
    found = rgb_tower_of(model, load_image_processor(folder_or_id))
    found.tower.to(dtype)  # type: ignore[arg-type]
    return found


def load_image_processor(folder_or_id: str | PathLike[str]) -> Any:
    """The image processor of a folder or hub id, its Pillow variant; None where there is none."""
    try:
        return AutoImageProcessor.from_pretrained(folder_or_id, backend="pil")
    except (OSError, ValueError):
        return None


def _without_depth(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The vision-language model inside a checkpoint of ``DepthVLM``, which this layer cannot build."""
    inner = AutoConfig.for_model(**config["vlm_config"])
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        raise OSError(f"no model*.safetensors in '{folder}'")
    prefix = "vlm."
    state = {
        name.removeprefix(prefix): tensor
        for path in weights
        for name, tensor in load_file(path).items()
        if name.startswith(prefix)
    }
    kind: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(inner)]
    model, info = kind.from_pretrained(None, config=inner, state_dict=state, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise SdvlmError(f"{len(missing)} weights of '{folder}' are missing ({', '.join(missing[:3])}); copy it again")
    return model.base_model  # type: ignore[no-any-return]


def _folder(folder_or_id: str | PathLike[str]) -> Path:
    if Path(folder_or_id).is_dir():
        return Path(folder_or_id)
    return Path(snapshot_download(str(folder_or_id), allow_patterns=["config.json", "model*.safetensors"]))


def _own_geometry(config: Any) -> Any:
    if is_packed(config):
        sizes = {"patch_size": config.patch_size, "temporal_patch_size": config.temporal_patch_size}
        return Qwen2VLImageProcessorPil(merge_size=config.spatial_merge_size, **sizes)
    side = getattr(config, "image_size", None)
    if not isinstance(side, int):
        raise SdvlmError(f"a {type(config).__name__} states no one picture size; give the tower's image_processor")
    return CLIPImageProcessorPil(size={"height": side, "width": side}, do_center_crop=False)


@contextmanager
def readable_errors(folder_or_id: str | PathLike[str]) -> Iterator[None]:
    """Turn what loaders raise for absent and damaged files into one line."""
    try:
        yield
    except SdvlmError:
        raise
    except SafetensorError as error:
        raise SdvlmError(
            f"a weights file of '{folder_or_id}' is damaged or cut short ({error}); copy it again"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        told = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SdvlmError(f"no model with a vision tower can be loaded from '{folder_or_id}': {told}") from error
