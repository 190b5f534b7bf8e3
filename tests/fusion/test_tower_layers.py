"""Which token of which layer looks at which patch, asked of the towers themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    Dinov2WithRegistersConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaModel,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLModel,
    Qwen2VLConfig,
    Qwen2VLModel,
    Qwen3VLConfig,
    Qwen3VLModel,
    ResNetConfig,
    ResNetModel,
    SiglipVisionConfig,
)

from sdvlm.fusion.pixel_layout import lay_out
from sdvlm.fusion.tower_layers import (
    layers_read,
    patch_side,
    pictures_of,
    token_rows,
    tower_layers,
    tower_width,
)
from sdvlm.fusion.towers import find_tower
from sdvlm.types import SdvlmError

SIDE, PATCH = 32, 8
TEXT = {
    "vocab_size": 16,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
FIXED = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}}
PACKED = {"depth": 3, "num_heads": 2, "patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": 2}


def llava(tower: PreTrainedConfig, layer: int | list[int] = -2) -> LlavaModel:
    config = LlavaConfig(
        vision_config=tower,
        text_config=LlamaConfig(**TEXT),
        vision_feature_layer=layer,
        vision_feature_select_strategy="full",
    )
    return LlavaModel(config).eval()


def qwen2() -> Qwen2VLModel:
    vision = PACKED | {"embed_dim": 32, "hidden_size": 48, "mlp_ratio": 1}
    return Qwen2VLModel(Qwen2VLConfig(vision_config=vision, text_config=TEXT | ROPE | {"hidden_size": 48})).eval()


def qwen2_5() -> Qwen2_5_VLModel:
    vision = PACKED | {
        "hidden_size": 32,
        "intermediate_size": 32,
        "window_size": 32,
        "fullatt_block_indexes": [1],
        "out_hidden_size": 32,
    }
    return Qwen2_5_VLModel(Qwen2_5_VLConfig(vision_config=vision, text_config=TEXT | ROPE)).eval()


def qwen3() -> Qwen3VLModel:
    vision = PACKED | {
        "hidden_size": 32,
        "intermediate_size": 32,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1, 2],
    }
    return Qwen3VLModel(Qwen3VLConfig(vision_config=vision, text_config=TEXT | ROPE | {"head_dim": 16})).eval()


TOWERS: dict[str, Callable[[], Any]] = {
    "clip": lambda: llava(CLIPVisionConfig(**FIXED, intermediate_size=32)),
    "siglip": lambda: llava(SiglipVisionConfig(**FIXED, intermediate_size=32, vision_use_head=False)),
    "dinov2 with registers": lambda: llava(Dinov2WithRegistersConfig(**FIXED, mlp_ratio=1, num_register_tokens=3)),
    "qwen2-vl": qwen2,
    "qwen2.5-vl": qwen2_5,
    "qwen3-vl": qwen3,
}


@pytest.fixture(scope="module", params=list(TOWERS))
def base(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return TOWERS[request.param]()


def pictures(base: Any, channels: int = 3) -> list[Tensor]:
    """(C, H, W) planes of two pictures, of sizes that the tower can take."""
    sizes = [(SIDE, SIDE)] * 2 if isinstance(base, LlavaModel) else [(3 * 16, 5 * 16), (2 * 16, 3 * 16)]
    return [torch.randn(channels, *size) for size in sizes]


def layer_input(base: Any, inputs: dict[str, Tensor], layer: int = 0) -> Tensor:
    """(-1, D) what a layer takes in."""
    seen: list[Tensor] = []
    handle = tower_layers(base)[layer].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        base.get_image_features(**inputs, return_dict=True)
    handle.remove()
    return seen[0].flatten(0, -2)


def test_a_patch_made_black_changes_the_token_that_is_said_to_look_at_it_and_no_other(base: Any) -> None:
    planes = pictures(base)
    inputs = lay_out(planes, base.config.vision_config)
    before, shapes = layer_input(base, inputs), []
    handle = tower_layers(base)[0].register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    base.get_image_features(**inputs, return_dict=True)
    handle.remove()
    rows = token_rows(base, inputs, shapes[0])
    assert [tuple(one.shape) for one in rows] == [(p.shape[1] // PATCH, p.shape[2] // PATCH) for p in planes]
    for picture, row, column in [(0, 0, 0), (0, 1, 2), (0, 3, 3), (1, 0, 3), (1, 2, 1), (1, 3, 0)]:
        black = [one.clone() for one in planes]
        black[picture][:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = 0
        after = layer_input(base, lay_out(black, base.config.vision_config))
        changed = (before != after).any(dim=-1).nonzero().flatten().tolist()
        assert changed == [int(rows[picture][row, column])]


def test_pictures_come_back_from_the_layout_they_were_put_in(base: Any) -> None:
    planes = pictures(base, channels=2)
    back = pictures_of(base, lay_out(planes, base.config.vision_config))
    assert all(torch.equal(*pair) for pair in zip(back, planes, strict=True))


def test_the_towers_width_and_patch_are_those_of_its_layers(base: Any) -> None:
    inputs = lay_out(pictures(base), base.config.vision_config)
    assert layer_input(base, inputs).shape[-1] == tower_width(base)
    assert patch_side(base) == PATCH
    assert len(tower_layers(base)) == 3


@pytest.mark.parametrize(("chosen", "read"), [(-1, 3), (-2, 2), (1, 1), ([-3, 2], 2), ([-3, -1], 3)])
def test_the_layers_read_are_those_whose_input_the_image_tokens_depend_on(chosen: Any, read: int) -> None:
    torch.manual_seed(0)
    base = llava(CLIPVisionConfig(**FIXED, intermediate_size=32), chosen)
    assert layers_read(base) == read
    inputs = lay_out(pictures(base), base.config.vision_config)
    with torch.no_grad():
        plain = torch.stack(base.get_image_features(**inputs, return_dict=True).pooler_output)
        for layer, block in enumerate(tower_layers(base)):
            handle = block.register_forward_pre_hook(lambda _, args: (args[0] * 3, *args[1:]))
            moved = torch.stack(base.get_image_features(**inputs, return_dict=True).pooler_output)
            handle.remove()
            assert torch.equal(plain, moved) == (layer >= read)


def test_a_tower_that_does_not_attend_is_refused() -> None:
    base = llava(CLIPVisionConfig(**FIXED, intermediate_size=32))
    base.config.vision_config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
    base.vision_tower = ResNetModel(base.config.vision_config)
    with pytest.raises(SdvlmError, match="no list of like attention blocks"):
        tower_layers(base)


def test_windows_whose_order_is_not_stated_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    base = qwen2_5()
    inputs = lay_out(pictures(base), base.config.vision_config)
    monkeypatch.delattr(type(find_tower(base)), "permute_input_for_window_attn")
    with pytest.raises(SdvlmError, match="attends in windows"):
        token_rows(base, inputs, torch.Size([len(inputs["pixel_values"]), 32]))


@pytest.mark.parametrize("shape", [(2, 19, 24), (2, 15, 24), (3, 17, 24), (34, 24), (2, 4, 4, 24)])
def test_tokens_that_do_not_match_the_pictures_are_refused(shape: tuple[int, ...]) -> None:
    base = llava(CLIPVisionConfig(**FIXED, intermediate_size=32))
    with pytest.raises(SdvlmError, match="side adapters want"):
        token_rows(base, lay_out(pictures(base), base.config.vision_config), torch.Size(shape))


def test_videos_and_tiles_are_refused() -> None:
    packed = qwen2_5()
    inputs = lay_out(pictures(packed), packed.config.vision_config)
    inputs["image_grid_thw"] = torch.tensor([[2, 6, 10]])
    with pytest.raises(SdvlmError, match="still pictures"):
        pictures_of(packed, inputs)
    with pytest.raises(SdvlmError, match="packed patches"):
        pictures_of(llava(CLIPVisionConfig(**FIXED)), {"pixel_values": torch.zeros(1, 5, 3, SIDE, SIDE)})
