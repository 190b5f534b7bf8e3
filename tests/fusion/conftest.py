"""Depth grids made by hand, so that fusions are tested apart from pooling; tiny towers and models with one inside."""

import pytest
import torch
import transformers as hf
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from sdvlm.fusion.depth_grid import CHANNELS, DepthGrid, kind_code
from sdvlm.types import DepthKind


@pytest.fixture
def make_grid():
    """``make_grid(z, image_index=None, kind="metric", camera=False)``: a grid whose tokens have these depths."""

    def make(z, image_index=None, kind="metric", camera=False):
        z = torch.as_tensor(z, dtype=torch.float32)
        known = ~torch.isnan(z)
        columns = {name: torch.full_like(z, torch.nan) for name in CHANNELS}
        columns |= {"z": z, "z_min": 0.9 * z, "z_max": 1.2 * z, "z_std": 0.1 * z.abs(), "valid": known.float()}
        columns["kind"] = torch.full_like(z, float(kind_code(DepthKind(kind))))
        if camera:
            columns["ray_x"] = torch.linspace(-0.5, 0.5, len(z))
            columns["ray_y"] = torch.linspace(0.3, -0.3, len(z))
            columns |= {"x": columns["ray_x"] * z, "y": columns["ray_y"] * z}
        index = torch.zeros(len(z)) if image_index is None else torch.as_tensor(image_index)
        return DepthGrid(**columns, image_index=index.long())

    return make


_PLAIN = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
_PACKED = {"depth": 2, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2}
_WINDOWS = {"hidden_size": 32, "intermediate_size": 32, "window_size": 32, "fullatt_block_indexes": [1]}
_TEXT = {
    "vocab_size": 32,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}}


def _towers():
    yield "clip", hf.CLIPVisionModel(hf.CLIPVisionConfig(**_PLAIN))
    yield "siglip", hf.SiglipVisionModel(hf.SiglipVisionConfig(**_PLAIN))
    yield "dinov2", hf.Dinov2Model(hf.Dinov2Config(**_PLAIN))
    yield "dinov2 registers", hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**_PLAIN))
    yield "vit", hf.ViTModel(hf.ViTConfig(**_PLAIN))
    config = hf.Qwen2VLConfig(vision_config={**_PACKED, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 1})
    yield "qwen2-vl", Qwen2VisionTransformerPretrainedModel(config.vision_config)
    config = hf.Qwen2_5_VLConfig(vision_config={**_PACKED, **_WINDOWS, "out_hidden_size": 32})
    yield "qwen2.5-vl", Qwen2_5_VisionTransformerPretrainedModel(config.vision_config)


def _hosts():
    text = hf.LlamaConfig(**_TEXT)
    clip, siglip = hf.CLIPVisionConfig(**_PLAIN), hf.SiglipVisionConfig(**_PLAIN)
    yield "llava", hf.LlavaForConditionalGeneration(hf.LlavaConfig(vision_config=clip, text_config=text))
    config = hf.LlavaConfig(
        vision_config=siglip, text_config=text, vision_feature_select_strategy="full", vision_feature_layer=-1
    )
    yield "llava siglip", hf.LlavaForConditionalGeneration(config)
    vision, ids = {**_PACKED, **_WINDOWS, "out_hidden_size": 32}, {"image_token_id": 3, "video_token_id": 4}
    config = hf.Qwen2_5_VLConfig(vision_config=vision, text_config={**_TEXT, **_ROPE}, vision_start_token_id=5, **ids)
    yield "qwen2.5-vl", hf.Qwen2_5_VLForConditionalGeneration(config)
    deep = {"hidden_size": 32, "intermediate_size": 32, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    rope = {"rope_parameters": {**_ROPE["rope_parameters"], "mrope_interleaved": True}, "head_dim": 8}
    config = hf.Qwen3VLConfig(vision_config={**_PACKED, **deep, "out_hidden_size": 32}, text_config={**_TEXT, **rope})
    yield "qwen3-vl", hf.Qwen3VLForConditionalGeneration(config)
    config = hf.LlavaNextConfig(vision_config=clip, text_config=text, image_grid_pinpoints=[[56, 112], [112, 56]])
    yield "tiled", hf.LlavaNextForConditionalGeneration(config)


def _made(pairs):
    """Weights far larger than usual, so that tiny models differ visibly in what they make of different inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models = dict(pairs)
        for model in models.values():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.15)
            model.train(False)
    return models


TOWERS = ("clip", "siglip", "dinov2", "dinov2 registers", "vit", "qwen2-vl", "qwen2.5-vl")
HOSTS = ("llava", "llava siglip", "qwen2.5-vl", "qwen3-vl")


@pytest.fixture(scope="session")
def towers():
    """RGB vision towers by name; tests must not change them."""
    return _made(_towers())


@pytest.fixture(params=TOWERS)
def tower(request, towers):
    """Each tower in turn."""
    return towers[request.param]


@pytest.fixture(scope="session")
def hosts():
    """Vision-language models by name; tests must not change them."""
    return _made(_hosts())


@pytest.fixture(params=HOSTS)
def host(request, hosts):
    """Each model in turn."""
    return hosts[request.param]
