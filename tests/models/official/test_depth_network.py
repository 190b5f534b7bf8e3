"""Depth Anything V2 out of released names, against its own forward pass written out over those names."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import DepthAnythingForDepthEstimation

from sdvlm.models.official import load_official_depth
from sdvlm.models.official.depth_network import depth_config, depth_source
from sdvlm.types import DepthKind, SdvlmError

from .conftest import DEPTH_CONFIG, Make, depth_shapes, whole_state

GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "sd_vlm_official"


def forward(w: dict[str, Tensor], x: Tensor, heads: int, taps: list[int]) -> Tensor:
    """(h, w) disparity of a (3, H, W) input: ``dinov2.py`` and ``dpt.py`` of Depth Anything V2, without batches."""

    def linear(name: str, value: Tensor) -> Tensor:
        return F.linear(value, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, value.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def conv(name: str, value: Tensor, **how: int) -> Tensor:
        return F.conv2d(value, w[f"{name}.weight"], w.get(f"{name}.bias"), **how)

    cells = conv("pretrained.patch_embed.proj", x[None], stride=14)
    rows, columns = cells.shape[-2:]
    side = math.isqrt(w["pretrained.pos_embed"].shape[1] - 1)
    positions = w["pretrained.pos_embed"][0]
    if (rows, columns) != (side, side):
        table = positions[1:].T.reshape(1, -1, side, side)
        scale = ((rows + 0.1) / side, (columns + 0.1) / side)
        table = F.interpolate(table, scale_factor=scale, mode="bicubic")
        positions = torch.cat([positions[:1], table[0].flatten(1).T])
    tokens = torch.cat([w["pretrained.cls_token"][0], cells[0].flatten(1).T]) + positions
    seen = []
    for i in range(max(taps) + 1):
        stem = f"pretrained.blocks.{i}."
        stacked = linear(f"{stem}attn.qkv", norm(f"{stem}norm1", tokens))  # [N, 3 heads width / heads]
        q, k, v = stacked.reshape(len(tokens), 3, heads, -1).permute(1, 2, 0, 3)
        mixed = ((q @ k.mT) / q.shape[-1] ** 0.5).softmax(-1) @ v
        mixed = linear(f"{stem}attn.proj", mixed.permute(1, 0, 2).flatten(1))
        tokens = tokens + w[f"{stem}ls1.gamma"] * mixed
        inner = F.gelu(linear(f"{stem}mlp.fc1", norm(f"{stem}norm2", tokens)))
        tokens = tokens + w[f"{stem}ls2.gamma"] * linear(f"{stem}mlp.fc2", inner)
        if i in taps:
            seen.append(norm("pretrained.norm", tokens)[1:])
    maps = []
    for i, one in enumerate(seen):
        one = conv(f"depth_head.projects.{i}", one.T.reshape(1, -1, rows, columns))
        resize = f"depth_head.resize_layers.{i}"
        if i < 2:
            one = F.conv_transpose2d(one, w[f"{resize}.weight"], w[f"{resize}.bias"], stride=(4, 2)[i])
        elif i == 3:
            one = conv(resize, one, stride=2, padding=1)
        maps.append(conv(f"depth_head.scratch.layer{i + 1}_rn", one, padding=1))

    def unit(name: str, value: Tensor) -> Tensor:
        inner = conv(f"{name}.conv1", F.relu(value), padding=1)
        return value + conv(f"{name}.conv2", F.relu(inner), padding=1)

    path = maps[3]
    for i in (4, 3, 2, 1):
        stem = f"depth_head.scratch.refinenet{i}"
        if i < 4:
            path = path + unit(f"{stem}.resConfUnit1", maps[i - 1])
        path = unit(f"{stem}.resConfUnit2", path)
        size = tuple(maps[i - 2].shape[-2:]) if i > 1 else tuple(2 * n for n in path.shape[-2:])
        path = F.interpolate(path, size, mode="bilinear", align_corners=True)
        path = conv(f"{stem}.out_conv", path)
    path = conv("depth_head.scratch.output_conv1", path, padding=1)
    path = F.interpolate(path, (14 * rows, 14 * columns), mode="bilinear", align_corners=True)
    path = F.relu(conv("depth_head.scratch.output_conv2.0", path, padding=1))
    return F.relu(conv("depth_head.scratch.output_conv2.2", path))[0, 0]


@pytest.mark.parametrize("size", [(50, 50), (90, 41), (60, 200)])
def test_the_loaded_network_computes_what_the_released_one_does(make: Make, size: tuple[int, int]) -> None:
    state = whole_state()
    state["depth.depth_head.scratch.output_conv2.2.bias"] += 1  # above the last ReLU
    estimator = load_official_depth(make(state=state), device="cpu")
    image = np.random.default_rng(4).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    w = {name.removeprefix("depth."): value.float() for name, value in state.items() if name.startswith("depth.")}
    expected = forward(w, estimator.processor(image), 2, DEPTH_CONFIG["intermediate_layer_idx"])
    (found,) = estimator.raw([image])
    assert found.kind is DepthKind.DISPARITY
    assert expected.std() > 5e-3
    np.testing.assert_allclose(found.values, expected, atol=2e-5)


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"the recorded outputs are not here: {GOLDEN}")
def test_raw_depth_is_the_recorded_one_with_the_stored_layer_scales() -> None:
    estimator = load_official_depth(GOLDEN / "checkpoint", device="cpu")
    said = json.loads((GOLDEN / "cases.json").read_text())["images"]
    with np.load(GOLDEN / "cases.npz") as arrays:
        for index, one in enumerate(said):
            (found,) = estimator.raw([np.asarray(Image.open(GOLDEN / one["file"]).convert("RGB"))])
            assert list(found.values.shape) == one["depth_raw_hw"]
            np.testing.assert_allclose(found.values[::6, ::6], arrays[f"image{index}/depth_raw_sub"], atol=5e-3)


@pytest.mark.parametrize(
    ("width", "blocks", "heads", "taps"),
    [(384, 12, 6, [2, 5, 8, 11]), (768, 12, 12, [2, 5, 8, 11]), (1024, 24, 16, [4, 11, 17, 23])],
)
def test_released_sizes_follow_from_the_weights_alone(width: int, blocks: int, heads: int, taps: list[int]) -> None:
    config = depth_config(depth_shapes(width, blocks, (48, 96, 192, 384), 64))
    backbone = config.backbone_config
    assert (backbone.hidden_size, backbone.num_hidden_layers, backbone.num_attention_heads) == (width, blocks, heads)
    assert list(backbone.out_indices) == [tap + 1 for tap in taps]
    assert (config.neck_hidden_sizes, config.fusion_hidden_size) == ([48, 96, 192, 384], 64)
    assert (backbone.image_size, backbone.patch_size, backbone.mlp_ratio) == (42, 14, 4)
    assert backbone.interpolate_offset == 0.1


def test_a_size_that_was_never_released_needs_to_be_told() -> None:
    with pytest.raises(SdvlmError, match=r"4 blocks, 12 wide.+; put a depth_config\.json"):
        depth_config(depth_shapes())
    assert depth_config(depth_shapes(), DEPTH_CONFIG).backbone_config.num_attention_heads == 2
    with pytest.raises(SdvlmError, match="num_register_tokens = 4 is not known"):
        depth_config(depth_shapes(), DEPTH_CONFIG | {"num_register_tokens": 4})
    lost = {name: shape for name, shape in depth_shapes().items() if name != "pretrained.cls_token"}
    with pytest.raises(SdvlmError, match=r"has no weights depth\.pretrained\.cls_token"):
        depth_config(lost, DEPTH_CONFIG)


def test_every_stock_weight_has_a_source_and_every_released_one_a_use() -> None:
    shapes = depth_shapes()
    with torch.device("meta"):
        model = DepthAnythingForDepthEstimation(depth_config(shapes, DEPTH_CONFIG))
    used: dict[str, list[tuple[int, int]]] = {}
    for name, parameter in model.named_parameters():
        released, rows = depth_source(name, tuple(parameter.shape))
        used.setdefault(released, []).append(rows or (0, shapes[released][0]))
    assert used.keys() == shapes.keys()
    for name, rows in used.items():  # without gaps and without overlap
        assert sorted(rows)[0][0] == 0
        assert [end for _, end in sorted(rows)] == [*[start for start, _ in sorted(rows)][1:], shapes[name][0]]


def test_depth_maps_are_told_apart_by_the_weights_in_a_cache(make: Make) -> None:
    first, again = make("one"), make("two")
    state = whole_state()
    state["depth.pretrained.blocks.3.ls2.gamma"] *= 2
    other = make("three", state)
    revisions = [load_official_depth(folder, device="cpu").revision for folder in (first, again, other)]
    assert revisions[0] == revisions[1] != revisions[2]
