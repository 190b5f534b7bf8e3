"""Towers that read depth planes, made from towers that read RGB."""

import copy

import pytest
import torch
import transformers as hf
from torch import nn

from sdvlm.fusion.inflate import inflated, patch_embedding
from sdvlm.fusion.pixel_layout import is_packed, lay_out
from sdvlm.fusion.towers import patch_features
from sdvlm.types import SdvlmError


def grey(tower, pictures=2):
    """(1, H, W) random planes that the tower takes."""
    sides = [(32, 48), (64, 32)] if is_packed(tower.config) else [(56, 56)] * pictures
    torch.manual_seed(1)
    return [torch.randn(1, *size) for size in sides]


def features(tower, planes):
    with torch.no_grad():
        return patch_features(tower, **lay_out(planes, tower.config))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_grey_picture_gives_the_features_of_the_rgb_tower_whatever_the_further_planes(tower, channels):
    plane = grey(tower)
    wanted = features(tower, [one.expand(3, -1, -1) for one in plane])
    further = [torch.cat([one, 9 * torch.randn(channels - 1, *one.shape[1:])]) for one in plane]
    torch.testing.assert_close(features(inflated(tower, channels), further), wanted, atol=1e-5, rtol=1e-5)
    assert wanted.std() > 0.1


def test_the_rgb_tower_stays_as_it_was(tower):
    before, config = copy.deepcopy(tower.state_dict()), tower.config.to_dict()
    depth = inflated(tower, 2)
    with torch.no_grad():
        for parameter in depth.parameters():
            parameter.add_(1.0)
    assert tower.config.to_dict() == config
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())


def test_a_tower_built_from_the_new_config_takes_the_new_weights(tower):
    depth = inflated(tower, 4)
    built = type(tower)(depth.config).train(False)
    built.load_state_dict(depth.state_dict())
    planes = [torch.cat([one, one, -one, one]) for one in grey(tower)]
    assert torch.equal(features(built, planes), features(depth, planes))


def test_the_further_planes_are_learned(tower):
    depth = inflated(tower, 2)
    planes = [torch.cat([one, torch.ones_like(one)]) for one in grey(tower)]
    patch_features(depth, **lay_out(planes, depth.config)).square().sum().backward()
    kernels = depth.get_submodule(patch_embedding(depth, 2)).weight
    assert not kernels[:, 1].any()
    assert (kernels.grad[:, 1].abs() > 0).all()


def test_a_tower_on_the_meta_device_is_inflated_without_memory(tower):
    depth = inflated(copy.deepcopy(tower).to("meta"), 2)
    assert {one.device.type for one in depth.parameters()} == {"meta"}
    real = inflated(tower, 2).state_dict()
    assert {name: value.shape for name, value in depth.state_dict().items()} == {n: v.shape for n, v in real.items()}


def test_a_model_around_a_tower_is_inflated_with_all_configs_that_count_channels(hosts):
    model = hosts["llava"]
    depth = inflated(model, 2)
    assert depth.config.vision_config.num_channels == depth.model.vision_tower.config.num_channels == 2
    assert model.config.vision_config.num_channels == 3


def test_dtype_and_freezing_are_kept(towers):
    half = copy.deepcopy(towers["clip"]).to(torch.bfloat16).requires_grad_(False)
    depth = inflated(half, 2)
    assert {one.dtype for one in depth.parameters()} == {torch.bfloat16}
    assert not any(one.requires_grad for one in depth.parameters())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4)), "found none"),
        (nn.Sequential(nn.Conv2d(3, 4, 2), nn.Conv2d(3, 4, 2)), "found 2: 0, 1"),
        (nn.Sequential(nn.Conv2d(4, 4, 2)), "found none"),
    ],
)
def test_what_has_not_one_patch_embedding_is_refused(module, message):
    with pytest.raises(SdvlmError, match=message):
        inflated(module, 2)


def test_a_tower_that_takes_flattened_patches_is_refused():
    with torch.device("meta"):
        tower = hf.Siglip2VisionModel(hf.Siglip2VisionConfig())
    with pytest.raises(SdvlmError, match=r"Siglip2VisionModel must have .* linear layer are not supported"):
        inflated(tower, 2)


def test_no_planes_are_refused(towers):
    with pytest.raises(SdvlmError, match="at least one plane; got 0"):
        inflated(towers["clip"], 0)
