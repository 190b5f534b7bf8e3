"""Finding towers, and reading their patch tokens in the order of the picture."""

import pytest
import torch
import transformers as hf
from torch.nn.functional import conv2d

from sdvlm.fusion.inflate import patch_embedding
from sdvlm.fusion.pixel_layout import lay_out
from sdvlm.fusion.towers import find_tower, patch_features, tower_path, vision_children
from sdvlm.types import SdvlmError

BEFORE = {"clip": 1, "siglip": 0, "dinov2": 1, "dinov2 registers": 5, "vit": 1}
"""class and register tokens in front of the patches"""


@pytest.mark.parametrize("name", BEFORE)
def test_patch_tokens_leave_out_class_and_register_tokens(towers, name):
    tower, pixels = towers[name], torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        out = tower(pixels, output_hidden_states=True)
        assert torch.equal(patch_features(tower, pixels), out.last_hidden_state[:, BEFORE[name] :])
        for layer in (0, 1, -2):
            assert torch.equal(patch_features(tower, pixels, layer=layer), out.hidden_states[layer][:, BEFORE[name] :])
    assert patch_features(tower, pixels).shape == (2, 16, 24)


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_packed_patch_tokens_come_back_row_by_row_of_each_picture(towers, name):
    """Blocks that add nothing hand on the patch embeddings, whose order a plain convolution tells."""
    tower = type(towers[name])(towers[name].config).train(False)
    with torch.no_grad():
        for block in tower.blocks:
            for last in (block.attn.proj, getattr(block.mlp, "down_proj", None) or block.mlp.fc2):
                last.weight.zero_()
                last.bias.zero_()
        kernel = tower.get_submodule(patch_embedding(tower)).weight.sum(2)  # a still picture is in both frames
        pictures = [torch.randn(3, 48, 80), torch.randn(3, 96, 32)]
        found = patch_features(tower, **lay_out(pictures, tower.config))
        wanted = [conv2d(one[None], kernel, stride=8)[0].flatten(1).T for one in pictures]
    torch.testing.assert_close(found, torch.cat(wanted), atol=1e-5, rtol=1e-4)


def test_a_picture_in_a_packed_batch_has_the_features_it_has_alone(towers):
    tower = towers["qwen2.5-vl"]
    pictures = [torch.randn(3, 48, 80), torch.randn(3, 64, 32)]
    with torch.no_grad():
        alone = [patch_features(tower, **lay_out([one], tower.config)) for one in pictures]
        together = patch_features(tower, **lay_out(pictures, tower.config))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_a_packed_tower_without_its_grid_is_refused(towers):
    with pytest.raises(SdvlmError, match="give image_grid_thw"):
        patch_features(towers["qwen2.5-vl"], torch.zeros(4, 384))


def test_a_tower_is_found_in_whatever_has_one(towers, hosts):
    assert tower_path(towers["dinov2"]) == ""
    assert tower_path(hosts["llava"]) == "model.vision_tower"
    assert tower_path(hosts["llava"].base_model) == "vision_tower"
    assert find_tower(hosts["qwen2.5-vl"]) is hosts["qwen2.5-vl"].model.visual
    with torch.device("meta"):
        clip = hf.CLIPModel(hf.CLIPConfig())
        classifier = hf.ViTForImageClassification(hf.ViTConfig())
    assert find_tower(clip) is clip.vision_model
    assert find_tower(classifier) is classifier.vit


def test_a_model_without_a_tower_is_refused(hosts):
    with pytest.raises(SdvlmError, match="found none"):
        find_tower(hosts["llava"].model.language_model)
    with pytest.raises(SdvlmError, match="in no vision tower of transformers"):
        find_tower(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2)))


def test_the_vision_children_are_all_but_the_language_model(hosts, towers):
    assert set(vision_children(hosts["llava"].base_model)) == {"vision_tower", "multi_modal_projector"}
    assert set(vision_children(hosts["qwen2.5-vl"].base_model)) == {"visual"}
    for other in (towers["clip"], hosts["llava"].model.language_model):
        with pytest.raises(SdvlmError, match="makes no image tokens"):
            vision_children(other)
