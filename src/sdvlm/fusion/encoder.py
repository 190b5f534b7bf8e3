"""The depth encoder: a clone of an RGB vision tower that reads depth planes, with its preprocessing.

What is fused is its trunk, the patch tokens, and never a contrastive embedding: aligning an embedding with a frozen RGB
tower erases the metric scale from it, and only the trunk's own losses keep it there.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.utils.hub import cached_file

from sdvlm.depth.atomic import atomic_file
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.inflate import inflated, patch_embedding
from sdvlm.fusion.pixel_layout import is_packed, lay_out
from sdvlm.fusion.rgb_tower import load_image_processor, load_rgb_tower, readable_errors, rgb_tower_of
from sdvlm.fusion.towers import patch_features
from sdvlm.geometry.replay import replay
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["DepthEncoder", "rgb_patch_features"]

MODEL_TYPE = "sdvlm_depth_encoder"
_CONFIG, _WEIGHTS, _PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
_HOME = "transformers.models."  # towers are built from transformers' own classes only

rgb_patch_features = patch_features
"""The same read-out of the frozen RGB tower: see ``fusion.towers.patch_features``."""


class DepthEncoder(nn.Module):
    """A vision tower for depth.

    Args:
        tower: a transformers vision model whose patch embedding reads ``channels.count`` planes; see :meth:`from_rgb`.
        channels: how depth becomes planes.
        image_processor: of the RGB tower; only its geometry (resize, crop, pad) is used.
        layer: index into the tower's hidden states that features are read from, as the host model reads its tower;
            None: the last hidden state.

    Raises:
        SdvlmError: the tower does not read that many planes.
    """

    def __init__(
        self, tower: PreTrainedModel, channels: DepthChannels, image_processor: Any, layer: int | None = None
    ) -> None:
        super().__init__()
        patch_embedding(tower, channels.count)
        self.tower = tower
        self.channels = channels
        self.image_processor = image_processor
        self.layer = layer

    @classmethod
    def from_rgb(
        cls,
        tower: PreTrainedModel | str | PathLike[str],
        channels: DepthChannels | None = None,
        image_processor: Any = None,
    ) -> DepthEncoder:
        """A depth tower as deep and as wide as an RGB one, starting at its weights: equal to it on grey pictures.

        Args:
            tower: a vision tower, or a model with one (vision-language model, CLIP): copied. Or a folder or hub id,
                loaded in float32.
            channels: planes; the default is log-metric depth and validity.
            image_processor: of the tower. None: the one that lies in the folder, else one that stretches pictures to
                the tower's size.

        Raises:
            SdvlmError: nothing can be loaded, or there is no one tower whose patch embedding reads RGB.
        """
        channels = channels or DepthChannels()
        if isinstance(tower, str | PathLike):
            rgb = load_rgb_tower(tower)
            processor = image_processor or rgb.image_processor
        else:
            rgb = rgb_tower_of(tower, image_processor)
            processor = rgb.image_processor
        depth_tower = inflated(rgb.tower, channels.count)
        depth_tower.requires_grad_(True)
        encoder = cls(depth_tower, channels, processor, rgb.layer)
        return encoder.train(rgb.tower.training)

    def prepare(
        self,
        depths: Sequence[DepthMap | None],
        cameras: Sequence[Camera | None] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> dict[str, Tensor]:
        """Arguments of :meth:`forward` for a batch of pictures. Depth goes where the picture's pixels go.

        Args:
            depths: a map of each picture's size, or None where there is none.
            cameras: of the same sizes; only ``height`` and ``normal`` planes need them.
            sizes: (width, height) of the pictures; needed for those without depth where towers take any size.

        Raises:
            SdvlmError: depth of a kind the planes are not defined for, a list of another length, a picture without
                depth and size, or one that does not fit the tower.
        """
        planes = []
        for index, depth in enumerate(depths):
            camera = _of(cameras, index, len(depths), "cameras")
            size = _of(sizes, index, len(depths), "sizes") or (depth.size if depth is not None else self._any_size())
            planes.append(torch.from_numpy(self.channels.processed(replay(self.image_processor, size), depth, camera)))
        return lay_out(planes, self.tower.config)

    def forward(self, pixel_values: Tensor, image_grid_thw: Tensor | None = None) -> Tensor:
        """Trunk features of the patch tokens, row by row of each picture.

        Args:
            pixel_values: depth planes as :meth:`prepare` lays them out.
            image_grid_thw: (B, 3) patches of each picture, of towers that take any size.

        Returns:
            (B, N, Dv), without class and register tokens; (T, Dv) of towers that take any size.
        """
        return patch_features(self.tower, pixel_values, image_grid_thw, self.layer)

    @property
    def hidden_size(self) -> int:
        """Dv: width of the tower."""
        return int(self.tower.get_submodule(patch_embedding(self.tower, self.channels.count)).out_channels)  # type: ignore[arg-type]

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Weights, image processor and config into one folder; the config comes last, so that no half save loads.

        Raises:
            SdvlmError: the tower's class is not one of transformers.
        """
        kind = type(self.tower)
        if not kind.__module__.startswith(_HOME):
            raise SdvlmError(
                f"only towers of transformers can be saved; {kind.__module__}.{kind.__name__} is another's"
            )
        tower_config = {**self.tower.config.to_dict(), "_name_or_path": ""}
        config = {
            "model_type": MODEL_TYPE,
            "tower": {"module": kind.__module__.removeprefix(_HOME), "class": kind.__name__, "config": tower_config},
            "channels": self.channels.to_dict(),
            "layer": self.layer,
        }
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tower.state_dict().items()}
        with (  # moved into place from the last to the first
            atomic_file(Path(folder) / _CONFIG) as config_file,
            atomic_file(Path(folder) / _PROCESSOR) as processor_file,
            atomic_file(Path(folder) / _WEIGHTS) as weights_file,
        ):
            weights_file.write(save(state, metadata={"format": "pt"}))
            processor_file.write(self.image_processor.to_json_string().encode())
            config_file.write(json.dumps(config, indent=2, sort_keys=True).encode())

    @classmethod
    def from_pretrained(
        cls, folder_or_id: str | PathLike[str], dtype: torch.dtype | None = None, **hub: Any
    ) -> DepthEncoder:
        """What :meth:`save_pretrained` wrote, in evaluation mode.

        Args:
            folder_or_id: a folder or hub id.
            dtype: of the weights; None: as stored.
            hub: ``revision``, ``token``, ``cache_dir``, ``local_files_only``.

        Raises:
            SdvlmError: nothing there, another kind of model, a damaged file, or any weight that is missing, left over
                or of another shape.
        """
        with readable_errors(folder_or_id):
            config = json.loads(Path(_file(folder_or_id, _CONFIG, hub)).read_text(encoding="utf-8"))
            if config.get("model_type") != MODEL_TYPE:
                raise SdvlmError(
                    f"'{folder_or_id}' holds a '{config.get('model_type')}' model, not a depth encoder; "
                    "make one with DepthEncoder.from_rgb(...) or 'sdvlm pretrain'"
                )
            state = load_file(_file(folder_or_id, _WEIGHTS, hub))
            _file(folder_or_id, _PROCESSOR, hub)
            tower = _empty_tower(config["tower"])
            channels = DepthChannels.from_dict(config["channels"])
        try:
            tower.load_state_dict(state)
        except RuntimeError as error:
            told = " ".join(str(error).split())[:300]
            raise SdvlmError(f"the weights of '{folder_or_id}' do not fit its config: {told}") from error
        tower.to(dtype or next(iter(tensor.dtype for tensor in state.values() if tensor.is_floating_point())))  # type: ignore[arg-type]
        encoder = cls(tower, channels, load_image_processor(folder_or_id), config["layer"])
        return encoder.train(False)

    def _any_size(self) -> tuple[int, int]:
        """A picture size for one of which nothing is known, where all are processed to one."""
        if is_packed(self.tower.config):
            raise SdvlmError("this tower takes pictures of any size; give the sizes of those without depth")
        side = int(np.max(self.tower.config.image_size))
        return side, side


def _of(values: Sequence[Any] | None, index: int, wanted: int, what: str) -> Any:
    if values is None:
        return None
    if len(values) != wanted:
        raise SdvlmError(f"got {len(values)} {what} for {wanted} depth maps; give one each, or None")
    return values[index]


def _file(folder_or_id: str | PathLike[str], name: str, hub: dict[str, Any]) -> str:
    path = cached_file(folder_or_id, name, **hub)
    assert isinstance(path, str)
    return path


def _empty_tower(described: dict[str, Any]) -> PreTrainedModel:
    """A tower of the described class and config, its weights not yet set."""
    name = f"{_HOME}{described['module']}"
    try:
        kind = getattr(importlib.import_module(name), described["class"])
    except (ImportError, AttributeError) as error:
        raise SdvlmError(f"this version of transformers has no {name}.{described['class']}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel) and kind.__module__ == name):
        raise SdvlmError(f"{name}.{described['class']} is not a model of transformers; the config is not ours")
    with no_init_weights():
        tower = kind(kind.config_class.from_dict(described["config"]))  # type: ignore[union-attr]
    assert isinstance(tower, PreTrainedModel)
    return tower
