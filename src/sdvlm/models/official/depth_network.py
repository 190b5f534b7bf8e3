"""Depth Anything V2 in its authors' names and in those of transformers (``DepthAnythingForDepthEstimation``).

Facts of ``depth_anything_v2/{dpt,dinov2}.py`` as SD-VLM vendors them. One thing stays theirs: for inputs that are not
518 x 518 their DINOv2 stretches its position embeddings by (cells + 0.1) / 37, transformers' by cells / 37, which moves
the output by up to 0.5 %. The 0.1 is kept as ``interpolate_offset`` in the backbone's config, and
``depth.positions`` follows it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from transformers import DepthAnythingConfig, Dinov2Config

from sdvlm.depth.cubic import CubicProcessor
from sdvlm.types import SdvlmError

__all__ = ["depth_config", "depth_preprocessing", "depth_source"]

Shape = tuple[int, ...]
_TAPS = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23), 40: (9, 19, 29, 39)}
"""blocks whose outputs the released sizes read, by the number of blocks: S and B, L, G"""
_HEAD_WIDTH = 64  # of every released size
_INTERPOLATE_OFFSET = 0.1
_RENAMED = (
    (r"backbone\.embeddings\.(cls_token|mask_token)", r"pretrained.\1"),
    (r"backbone\.embeddings\.position_embeddings", "pretrained.pos_embed"),
    (r"backbone\.embeddings\.patch_embeddings\.projection\.(.+)", r"pretrained.patch_embed.proj.\1"),
    (r"backbone\.layernorm\.(.+)", r"pretrained.norm.\1"),
    (r"backbone\.encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1", r"pretrained.blocks.\1.ls\2.gamma"),
    (r"backbone\.encoder\.layer\.(\d+)\.attention\.o_proj\.(.+)", r"pretrained.blocks.\1.attn.proj.\2"),
    (r"backbone\.encoder\.layer\.(\d+)\.((?:norm[12]|mlp\.fc[12])\..+)", r"pretrained.blocks.\1.\2"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.projection\.(.+)", r"depth_head.projects.\1.\2"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.resize\.(.+)", r"depth_head.resize_layers.\1.\2"),
    (r"head\.conv1\.(.+)", r"depth_head.scratch.output_conv1.\1"),
    (r"head\.conv2\.(.+)", r"depth_head.scratch.output_conv2.0.\1"),
    (r"head\.conv3\.(.+)", r"depth_head.scratch.output_conv2.2.\1"),
)
_ATTENTION = re.compile(r"backbone\.encoder\.layer\.(\d+)\.attention\.([qkv])_proj\.(.+)")
_NECK = re.compile(r"neck\.convs\.(\d)\.weight")
_FUSION = re.compile(r"neck\.fusion_stage\.layers\.(\d)\.(?:projection|residual_layer([12])\.convolution([12]))\.(.+)")


def depth_source(name: str, shape: Shape) -> tuple[str, tuple[int, int] | None]:
    """Where a stock tensor lies in a released checkpoint: its name there, and which rows of it; None: all.

    Args:
        name: of a parameter of ``DepthAnythingForDepthEstimation``.
        shape: of that parameter. Released queries, keys and values lie stacked in one tensor.
    """
    for pattern, released in _RENAMED:
        if found := re.fullmatch(pattern, name):
            return found.expand(released), None
    if found := _ATTENTION.fullmatch(name):
        first = "qkv".index(found[2]) * shape[0]
        return f"pretrained.blocks.{found[1]}.attn.qkv.{found[3]}", (first, first + shape[0])
    if found := _NECK.fullmatch(name):
        return f"depth_head.scratch.layer{int(found[1]) + 1}_rn.weight", None
    if found := _FUSION.fullmatch(name):
        stem = (
            f"depth_head.scratch.refinenet{4 - int(found[1])}"  # theirs count from the finest map, stock from the last
        )
        return f"{stem}.{f'resConfUnit{found[2]}.conv{found[3]}' if found[2] else 'out_conv'}.{found[4]}", None
    raise KeyError(name)


def depth_config(shapes: Mapping[str, Shape], told: Mapping[str, Any] | None = None) -> DepthAnythingConfig:
    """The network's sizes: what a ``depth_config.json`` tells, the rest from the weights' shapes.

    Shapes do not tell two numbers: heads, 64 channels wide in every released size, and the blocks whose outputs are
    read, which follow from the number of blocks (12: 2, 5, 8, 11; 24: 4, 11, 17, 23; 40: 9, 19, 29, 39).

    Args:
        shapes: of the released tensors, by name without ``depth.``.
        told: fields of ``depth_config.json``; None where there is no such file.

    Raises:
        SdvlmError: a size that neither tells, or an option that the stock class does not have.
    """
    told = told or {}
    for option, wanted in (("use_bn", False), ("use_clstoken", False), ("num_register_tokens", 0)):
        if told.get(option, wanted) != wanted:
            raise SdvlmError(f"a depth network with {option} = {told[option]} is not known here; wanted {wanted}")
    try:
        width = shapes["pretrained.cls_token"][-1]
        patch = shapes["pretrained.patch_embed.proj.weight"][-1]
        cells = math.isqrt(shapes["pretrained.pos_embed"][1] - 1)
        mlp = shapes["pretrained.blocks.0.mlp.fc1.weight"][0] // width
        necks = [shapes[f"depth_head.projects.{i}.weight"][0] for i in range(4)]
        features = shapes["depth_head.scratch.layer1_rn.weight"][0]
        head = shapes["depth_head.scratch.output_conv2.0.weight"][0]
    except KeyError as error:
        raise SdvlmError(
            f"the depth network has no weights depth.{error.args[0]}; the checkpoint is incomplete"
        ) from error
    blocks = 1 + max(int(found[1]) for name in shapes if (found := re.match(r"pretrained\.blocks\.(\d+)\.", name)))
    blocks = int(told.get("depth", blocks))
    taps = told.get("intermediate_layer_idx") or _TAPS.get(blocks)
    heads = told.get("num_heads") or (width // _HEAD_WIDTH if width % _HEAD_WIDTH == 0 else None)
    if taps is None or heads is None:
        raise SdvlmError(
            f"a depth network of {blocks} blocks, {width} wide, is of no released size (12, 24 or 40 blocks, heads "
            f"of {_HEAD_WIDTH}); put a depth_config.json with num_heads and intermediate_layer_idx into the folder"
        )
    backbone: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": blocks,
        "num_attention_heads": int(heads),
        "mlp_ratio": mlp,
        "image_size": cells * patch,
        "patch_size": patch,
        "qkv_bias": "pretrained.blocks.0.attn.qkv.bias" in shapes,
        "use_mask_token": "pretrained.mask_token" in shapes,
        "layer_norm_eps": float(told.get("layer_norm_eps", 1e-6)),
        "out_indices": [int(tap) + 1 for tap in taps],  # stock counts the embeddings as stage 0
        "reshape_hidden_states": False,
        "interpolate_offset": float(told.get("interpolate_offset", _INTERPOLATE_OFFSET)),
    }
    return DepthAnythingConfig(
        backbone_config=Dinov2Config(**backbone),
        patch_size=patch,
        reassemble_hidden_size=width,
        neck_hidden_sizes=necks,
        fusion_hidden_size=features,
        head_hidden_size=head,
    )


def depth_preprocessing(config: Any, told: Mapping[str, Any] | None = None) -> CubicProcessor:
    """How its inputs are made: the shorter side to 518 or more, whatever the network was trained at."""
    side = int((told or {}).get("input_size", 518))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return CubicProcessor((side, side), int(config.patch_size), keep_aspect=True, mean=mean, std=std)
