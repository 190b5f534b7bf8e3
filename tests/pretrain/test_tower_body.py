"""A tower's blocks on chosen tokens against the tower's own forward pass."""

import pytest
import torch
import transformers as hf
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from sdvlm.fusion.inflate import inflated
from sdvlm.fusion.towers import patch_features
from sdvlm.pretrain.tower_body import TowerBody
from sdvlm.types import SdvlmError

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
KINDS = {
    "clip": (hf.CLIPVisionModel, hf.CLIPVisionConfig),
    "siglip": (hf.SiglipVisionModel, hf.SiglipVisionConfig),
    "vit": (hf.ViTModel, hf.ViTConfig),
    "dinov2": (hf.Dinov2Model, hf.Dinov2Config),
    "registers": (hf.Dinov2WithRegistersModel, hf.Dinov2WithRegistersConfig),
}


def made(name, **more):
    torch.manual_seed(0)
    model, config = KINDS[name]
    tower = model(config(**SHAPE, **more))
    for parameter in tower.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return tower.train(False)


@pytest.mark.parametrize("layer", [None, -2])
@pytest.mark.parametrize("name", KINDS)
def test_all_patches_with_their_places_give_what_the_tower_gives(name, layer):
    tower = inflated(made(name), 2)
    body = TowerBody(tower, 2, layer)
    pixels = torch.randn(3, 2, 32, 32)
    prefix, places = body.places()
    tokens = torch.cat([prefix.expand(3, -1, -1), body.patches(pixels) + places], dim=1)
    got = body.run(tokens)[:, prefix.shape[1] :]
    torch.testing.assert_close(got, patch_features(tower, pixels, layer=layer), atol=1e-5, rtol=1e-4)
    assert places.shape == (1, 16, 16)
    assert float((places - places.mean(1)).detach().abs().max()) > 0.01


def test_places_are_the_position_embeddings_and_get_their_gradient():
    tower = made("clip")
    _, places = TowerBody(tower, 3).places()
    torch.testing.assert_close(places[0], tower.embeddings.position_embedding.weight[1:], atol=1e-6, rtol=0)
    places.square().sum().backward()
    assert tower.embeddings.position_embedding.weight.grad[1:].any()


@pytest.mark.parametrize("name", KINDS)
def test_without_places_patches_moved_about_give_features_moved_about(name):
    tower = made(name)
    body = TowerBody(tower, 3)
    pixels = torch.randn(2, 3, 32, 32)
    moved = pixels.roll((8, 16), dims=(2, 3))

    def features(x):
        return patch_features(tower, x).reshape(2, 4, 4, 16)

    with body.without_places():
        torch.testing.assert_close(features(moved), features(pixels).roll((1, 2), dims=(1, 2)), atol=1e-4, rtol=1e-3)
    assert float((features(moved) - features(pixels).roll((1, 2), dims=(1, 2))).detach().abs().max()) > 0.05
    before = features(pixels)
    assert not tower.embeddings._forward_hooks  # nothing stays behind
    torch.testing.assert_close(features(pixels), before)


def test_dropout_in_the_embedding_does_not_reach_places():
    tower = made("vit", hidden_dropout_prob=0.5)
    body = TowerBody(tower, 3)
    _, still = body.places()
    tower.train(True)
    _, training = body.places()
    torch.testing.assert_close(training, still)
    assert all(part.training for part in tower.modules())


def test_towers_that_know_places_otherwise_are_refused():
    config = hf.Qwen2VLConfig(vision_config={"depth": 1, "num_heads": 2, "embed_dim": 32, "hidden_size": 32})
    with pytest.raises(SdvlmError, match=r"learned places.*Qwen2.*any size"):
        TowerBody(Qwen2VisionTransformerPretrainedModel(config.vision_config), 3)
    torch.manual_seed(0)
    rotary = hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**SHAPE))
    with pytest.raises(SdvlmError, match="learned places"):
        TowerBody(rotary, 3)
