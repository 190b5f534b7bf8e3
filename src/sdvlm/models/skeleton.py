"""A model without weights that shows where things go: numbers sent through its own code come out in their places.

Blocks of the tower hand on their input and matrices give zeros of the right shape: the probe follows where cells go,
not what becomes of them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.models.families import Family, family_of
from sdvlm.models.families.family import Boxes
from sdvlm.types import SdvlmError

__all__ = ["build_skeleton", "probe"]

_BOX = 4
_SMALL = {"num_hidden_layers": 1, "vocab_size": 8, "intermediate_size": 8, "pad_token_id": None}
"""of the language model, which is never run"""
_WIDTH = 32
_NARROW = {
    **dict.fromkeys(("hidden_size", "embed_dim", "intermediate_size", "out_hidden_size", "head_dim"), _WIDTH),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "num_heads", "num_channels"), 1),
    "vocab_size": _WIDTH,
}
"""of the tower, whose features are never read"""
_DEPTH = ("num_hidden_layers", "depth")
_NARROW_TIMM: dict[str, dict[str, Any]] = {
    "vit_pe": {"depth": 1, "embed_dim": _WIDTH, "num_heads": 1},
    "fastvit_mci3": {"layers": (1,) * 5, "embed_dims": (_WIDTH, 2 * _WIDTH, *(4 * _WIDTH,) * 3)},
}
"""of towers of timm, by what their names begin with"""
_NO_MASKS = "flash_attention_2"
"""the way of attending that builds no mask of all rows against all; nothing attends here"""


def build_skeleton(
    config: PreTrainedConfig, family: Family | None = None, narrow: bool = True, colours: bool = False
) -> nn.Module:
    """The model of ``config`` without its head, with a stub of a language model; its weights are never set.

    Args:
        config: of the model.
        family: its facts, if not those of ``family_of``.
        narrow: make the tower's features few, where the config names their number: what comes out is the same, sooner.
        colours: let a narrow tower read all channels of a picture, not one.

    Raises:
        SdvlmError: the family is not known.
    """
    family = family or family_of(config)
    config = copy.deepcopy(config)
    text = config.get_text_config()
    _set(text, _SMALL)
    if narrow and isinstance(tower := getattr(config, "vision_config", None), PreTrainedConfig):
        kept: dict[str, Any] = {"num_channels": getattr(tower, "num_channels", 1)} if colours else {}
        _set(tower, _NARROW | dict.fromkeys(_DEPTH, _layers_read(config)) | kept)
        for name, values in _NARROW_TIMM.items():
            if str(getattr(tower, "architecture", "")).startswith(name):
                tower.model_args = {**(tower.model_args or {}), **values}
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    with torch.random.fork_rng(devices=[]), no_init_weights():  # training's randomness must not depend on the probe
        model: Any = AutoModelForImageTextToText.from_config(config, dtype=torch.float32).base_model
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) or type(module).__name__ == "EvaBlock":  # timm's
            module.forward = _hand_on
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            module.forward = _zeros_of(module)  # type: ignore[method-assign, assignment]
        elif isinstance(module, PreTrainedModel):
            module.config._attn_implementation = _NO_MASKS
    model.config.get_text_config().hidden_size = _BOX  # what some reshape their tokens to
    for path in family.nowhere:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Parameter(torch.full((_BOX,), torch.nan)))
    return model.eval()  # type: ignore[no-any-return]


def _set(config: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if not isinstance(getattr(config, name, ()), list | tuple):  # absent, or a number for each stage
            setattr(config, name, value)


def _layers_read(config: Any) -> int:
    """How many layers of the tower there must be for the ones that a model reads to exist."""
    read = getattr(config, "vision_feature_layers", None) or getattr(config, "vision_feature_layer", None) or 0
    return max(1, *(at + 1 if at >= 0 else -at for at in ([read] if isinstance(read, int) else read)))


def _hand_on(*args: Any, **kwargs: Any) -> Any:
    if "hidden_state" in kwargs:  # Llama 4's tower, whose blocks give tuples
        return (kwargs["hidden_state"],)
    return args[0] if args else kwargs["hidden_states"]


def _zeros_of(module: Any) -> Callable[[Tensor], Tensor]:
    """A forward pass that only tells the shape."""

    def matrix(rows: Tensor) -> Tensor:
        return rows.new_zeros(*rows.shape[:-1], module.out_features)

    def convolution(planes: Tensor) -> Tensor:
        shape = module._conv_forward(planes.to("meta"), module.weight.to("meta"), None).shape
        return planes.new_zeros(shape)

    return matrix if isinstance(module, nn.Linear) else convolution


@torch.no_grad()
def probe(
    skeleton: nn.Module,
    family: Family,
    inputs: dict[str, Tensor],
    cells: Sequence[Boxes],
    function: str = "get_image_features",
) -> Boxes:
    """Send the cells of one picture through a skeleton: (N, 4) boxes of its tokens, NaN for those that look nowhere.

    Args:
        skeleton: of :func:`build_skeleton`.
        family: its facts.
        inputs: blank ones of ``function`` for the picture.
        cells: (n, 4) boxes of the cells of each view, in the frame the tokens' boxes are wanted in.
        function: name of the method that makes tokens of the inputs.

    Raises:
        SdvlmError: more cells went in than the tower puts out, or tokens did not come out one row each.
    """
    config: Any = skeleton.config
    views = [torch.from_numpy(np.ascontiguousarray(one)) for one in cells]
    merged = family.merged(config)

    def emit(*args: Tensor, **kwargs: Tensor) -> Tensor:
        features = args[0] if args else next(iter(kwargs.values()))
        index = next(called)
        if family.rows == "calls":
            return views[index][None]
        if index > 0:  # for something else than pictures
            return features.new_zeros(*features.shape, _BOX)
        if family.rows == "flat":
            return torch.cat(views)
        count = len(views[0])
        extra = features.shape[1] - count if family.merge is None and merged == 1 else 0  # class token, registers
        if extra < 0:
            raise SdvlmError(f"the tower puts out {features.shape[1]} rows for the {count} cells of a view")
        nowhere = views[0].new_full((extra, _BOX), torch.nan)
        return torch.stack([torch.cat([nowhere, one]) for one in views])

    def unite(rows: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        runs = rows.reshape(-1, merged, _BOX)
        return torch.cat([runs[..., :2].amin(dim=1), runs[..., 2:].amax(dim=1)], dim=-1)

    called = itertools.count()
    skeleton.get_submodule(family.source).forward = emit
    if family.merge is not None:
        skeleton.get_submodule(family.merge).forward = unite
    channels = getattr(getattr(config, "vision_config", None), "num_channels", None)
    for name, pixels in inputs.items():
        if name.startswith("pixel_values") and pixels.ndim > 3:  # a narrow skeleton looks at one colour
            inputs = inputs | {name: pixels[..., :channels, :, :]}
    features = getattr(skeleton, function)(**inputs, return_dict=True)
    tokens = torch.cat([row.reshape(-1, row.shape[-1]) for row in features[family.tokens]])
    if tokens.shape[-1] != _BOX:
        raise SdvlmError(
            f"the probe of {type(skeleton).__name__} lost the cells on the way: {tuple(tokens.shape)} came out"
        )
    return np.asarray(tokens.double().numpy())
