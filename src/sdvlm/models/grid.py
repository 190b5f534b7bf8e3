"""A token is a box: which pixels of the original picture each image token looks at.

The cells a tower cuts are sent through the model's own code as numbers: the module that puts them out emits each
cell's box in place of features, blocks pass their input on, the merging module takes the union of a run, and what
comes out of ``get_image_features`` are the tokens' boxes in processed pixels, in the order the language model sees
them (``fusion-methods`` 1.2). The image processor's resize, pad and crop is then inverted.

The probe runs on a skeleton built from the config alone (no weights are computed, none are needed), so that a grid can
live in a data-loader worker far from the model: it pickles as its config and image processor.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig
from transformers.initialization import no_init_weights
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families import Family, family_of
from sdvlm.types import SdvlmError

__all__ = ["TokenGrid", "token_boxes"]

Boxes = NDArray[np.float64]
Size = tuple[int, int]
Key = TypeVar("Key")
Value = TypeVar("Value")
_KEPT = 512  # sizes whose boxes are kept: 576 boxes are 18 KB
_GRIDS: OrderedDict[tuple[str, str], TokenGrid] = OrderedDict()
_KEPT_GRIDS = 8


class TokenGrid:
    """The boxes of the image tokens of one model behind one image processor.

    Args:
        config: of the vision-language model itself (not of a ``DepthVLM`` around it).
        image_processor: the part of its processor that makes ``pixel_values``.

    Raises:
        SdvlmError: the family is not known.
    """

    def __init__(self, config: PreTrainedConfig, image_processor: Any) -> None:
        self.config, self.image_processor = config, image_processor
        self.family: Family = family_of(config)
        self._skeleton: nn.Module | None = None
        self._layouts: OrderedDict[Size, Boxes] = OrderedDict()
        self._boxes: OrderedDict[Size, Boxes] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "image_processor": self.image_processor}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def transform(self, image_size: Size) -> ImageTransform:
        """From the pixels of a picture of ``image_size`` (width, height) to the pixels the tower sees."""
        return self.family.replay(self.image_processor, image_size)

    def boxes(self, image_size: Size) -> Boxes:
        """Boxes of the tokens of one picture, in the order of its image tokens.

        Args:
            image_size: (width, height) of the picture, in pixels.

        Returns:
            (N, 4) float64, read-only: left, top, right, bottom in pixels of the original picture; NaN rows for tokens
            that look nowhere. A box that lies partly in padding keeps its full extent, so it may exceed the picture.
        """
        if image_size not in self._boxes:
            steps = self.transform(image_size)
            boxes = steps.boxes_to_source(self.layout(steps.target_size))
            boxes.setflags(write=False)
            _keep(self._boxes, image_size, boxes, _KEPT)
        return self._boxes[image_size]

    def layout(self, processed_size: Size) -> Boxes:
        """(N, 4) boxes of the tokens in processed pixels, for a processed (width, height)."""
        if processed_size not in self._layouts:
            if self._skeleton is None:
                self._skeleton = build_skeleton(self.config)
            _keep(self._layouts, processed_size, probe(self._skeleton, self.family, processed_size), _KEPT)
        return self._layouts[processed_size]


def token_boxes(model: Any, processor: Any, image_size: Size) -> Boxes:
    """Boxes of the image tokens of one picture: see :meth:`TokenGrid.boxes`. Probed once per model and size.

    Args:
        model: a vision-language model, a ``DepthVLM`` around one, or the config of either.
        processor: its Hugging Face processor or the image processor alone.
        image_size: (width, height) in pixels.

    Raises:
        SdvlmError: the family is not known.
    """
    config = getattr(model, "config", model)
    config = getattr(config, "vlm_config", config)
    image_processor = getattr(processor, "image_processor", processor)
    key = (config.to_json_string(use_diff=False), str(image_processor.to_json_string()))
    if key not in _GRIDS:
        _keep(_GRIDS, key, TokenGrid(config, image_processor), _KEPT_GRIDS)
    return _GRIDS[key].boxes(image_size)


def build_skeleton(config: PreTrainedConfig) -> nn.Module:
    """The model of ``config`` without its head, with a stub of a language model; its weights are never set.

    Blocks of the tower hand on their input: the probe follows where things go, not what becomes of them.
    """
    config = copy.deepcopy(config)
    text = config.get_text_config()
    small = {"num_hidden_layers": 1, "vocab_size": 8, "intermediate_size": 8, "pad_token_id": None, "layer_types": None}
    for name, value in small.items():
        if hasattr(text, name):
            setattr(text, name, value if name != "layer_types" else (text.layer_types or [None])[:1])
    with torch.random.fork_rng(devices=[]), no_init_weights():  # training's randomness must not depend on the probe
        model: nn.Module = AutoModelForImageTextToText.from_config(config, dtype=torch.float32).base_model
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = _hand_on
    return model.eval()


def _hand_on(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return hidden_states


@torch.no_grad()
def probe(skeleton: nn.Module, family: Family, processed_size: Size) -> Boxes:
    """Send the cells of one picture through a skeleton: (N, 4) boxes in processed pixels, NaN for non-spatial tokens.

    Raises:
        SdvlmError: more cells went in than the tower puts out, or tokens did not come out one row each.
    """
    config = skeleton.config
    assert isinstance(config, PreTrainedConfig)
    cells = torch.from_numpy(family.cells(config, processed_size))

    def emit(features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return cells

    def emit_per_picture(features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        extra = features.shape[1] - len(cells)  # rows before the cells: class token, registers
        if extra < 0:
            raise SdvlmError(f"the tower puts out {features.shape[1]} rows for {len(cells)} cells of {processed_size}")
        return torch.cat([cells.new_full((extra, 4), torch.nan), cells])[None]

    def unite(rows: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        runs = rows.reshape(-1, family.merged(config), 4)
        return torch.cat([runs[..., :2].amin(dim=1), runs[..., 2:].amax(dim=1)], dim=-1)

    inputs = family.inputs(config, processed_size)
    batched = inputs["pixel_values"].ndim > 2
    skeleton.get_submodule(family.source).forward = emit_per_picture if batched else emit
    if family.merge is not None:
        skeleton.get_submodule(family.merge).forward = unite
    features = skeleton.get_image_features(**inputs, return_dict=True)  # type: ignore[operator]
    tokens = torch.cat([row.reshape(-1, row.shape[-1]) for row in features.pooler_output])
    if tokens.shape[-1] != 4:
        raise SdvlmError(
            f"the probe of {type(skeleton).__name__} lost the cells on the way: {tuple(tokens.shape)} came out"
        )
    return np.asarray(tokens.double().numpy())


def _keep(cache: OrderedDict[Key, Value], key: Key, value: Value, limit: int) -> None:
    cache[key] = value
    while len(cache) > limit:
        cache.popitem(last=False)
