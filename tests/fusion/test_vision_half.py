"""The cloned vision half of hosts against the hosts' own way from pixels to image tokens."""

import copy

import pytest
import torch
import transformers as hf

from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.fusion.inflate import patch_embedding
from sdvlm.fusion.pixel_layout import is_packed, lay_out
from sdvlm.fusion.towers import patch_features
from sdvlm.fusion.vision_half import VisionHalf
from sdvlm.types import SdvlmError


def grey(host):
    sides = [(32, 48), (64, 32)] if is_packed(host.config.vision_config) else [(56, 56)] * 2
    torch.manual_seed(1)
    return [torch.randn(1, *size) for size in sides]


def image_tokens(host, planes):
    with torch.no_grad():
        inputs = lay_out([one.expand(3, -1, -1) for one in planes], host.config.vision_config)
        return list(host.base_model.get_image_features(**inputs, return_dict=True)["pooler_output"])


def depth_inputs(host, channels=2):
    planes = [torch.cat([one, torch.randn(channels - 1, *one.shape[1:])]) for one in grey(host)]
    return lay_out(planes, host.config.vision_config)


@pytest.mark.parametrize("used_before", [False, True])
def test_grey_planes_give_the_image_tokens_of_the_host(host, used_before):
    host = copy.deepcopy(host)
    if used_before:  # running a transformers model installs hooks on it, which a clone takes along
        image_tokens(host, grey(host))
    half = VisionHalf(host.base_model, 2)
    with torch.no_grad():
        made = half(host.base_model, depth_inputs(host))
    wanted = image_tokens(host, grey(host))
    assert [one.shape for one in made] == [one.shape for one in wanted]
    torch.testing.assert_close(torch.cat(made), torch.cat(wanted), atol=1e-5, rtol=1e-5)


def test_tiles_are_put_together_by_the_host(hosts):
    host = hosts["tiled"].base_model
    tiles, sizes = torch.randn(1, 3, 1, 56, 56), torch.tensor([[50, 100]])
    half = VisionHalf(host, 2)
    with torch.no_grad():
        made = half(host, {"pixel_values": torch.cat([tiles, tiles], dim=2), "image_sizes": sizes})
        inputs = {"pixel_values": tiles.expand(-1, -1, 3, -1, -1), "image_sizes": sizes}
        wanted = host.get_image_features(**inputs, return_dict=True)["pooler_output"]
    torch.testing.assert_close(made[0], wanted[0], atol=1e-5, rtol=1e-5)
    assert len(made[0]) > 2 * 16  # tiles, the whole picture and the separators of rows


def test_it_learns_alone(host):
    host = copy.deepcopy(host).requires_grad_(False)
    half = VisionHalf(host.base_model, 2)
    before = image_tokens(host, grey(host))
    optimiser = torch.optim.SGD(half.parameters(), lr=0.1)
    torch.cat(half(host.base_model, depth_inputs(host))).square().mean().backward()
    kernels = half.tower.get_submodule(patch_embedding(half.tower, 2)).weight
    assert (kernels.grad != 0).all()
    optimiser.step()
    after = image_tokens(host, grey(host))
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    with torch.no_grad():
        moved = half(host.base_model, depth_inputs(host))
    assert (torch.cat(moved) - torch.cat(before)).abs().max() > 1e-3


def test_it_holds_what_lies_between_pixels_and_image_tokens_and_nothing_else(hosts):
    for name, parts in {"llava": {"vision_tower", "multi_modal_projector"}, "qwen2.5-vl": {"visual"}}.items():
        half = VisionHalf(hosts[name].base_model, 2)
        assert {key.split(".")[1] for key in half.state_dict()} == parts
        own = {id(one) for one in half.parameters()}
        assert not own & {id(one) for one in hosts[name].parameters()}
        assert all(one.requires_grad for one in half.parameters())


def test_its_weights_fit_one_built_on_the_meta_device(host):
    with torch.device("meta"):
        empty = VisionHalf(type(host)(host.config).base_model, 3)
    assert {one.device.type for one in empty.parameters()} == {"meta"}
    half = VisionHalf(host.base_model, 3)
    other = VisionHalf(copy.deepcopy(host).base_model, 3)
    with torch.no_grad():
        for parameter in half.parameters():
            parameter.mul_(1.1)
        other.load_state_dict(half.state_dict())
        assert {name: one.shape for name, one in empty.state_dict().items()} == {
            name: one.shape for name, one in half.state_dict().items()
        }
        inputs = depth_inputs(host, 3)
        one, two = half(host.base_model, inputs), copy.deepcopy(other)(host.base_model, inputs)
    assert torch.equal(torch.cat(one), torch.cat(two))


def test_the_host_keeps_its_own_tower(host):
    tower, names = host.base_model._modules.copy(), dict(host.named_parameters())
    half = VisionHalf(host.base_model, 2)
    half(host.base_model, depth_inputs(host))
    assert host.base_model._modules == tower
    assert dict(host.named_parameters()).keys() == names.keys()


def test_a_pretrained_tower_is_taken_over_and_the_projector_stays(host):
    encoder = DepthEncoder.from_rgb(host, DepthChannels())
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    half = VisionHalf(host.base_model, 2)
    fresh = copy.deepcopy(half)
    half.load_tower(encoder)
    inputs = depth_inputs(host)
    with torch.no_grad():
        assert torch.equal(patch_features(half.tower, **inputs, layer=encoder.layer), encoder(**inputs))
    inside = {f"parts.{name}" for name, part in half.parts.named_modules() if part is half.tower}.pop()
    for name, one in half.state_dict().items():
        if not name.startswith(inside):
            assert torch.equal(one, fresh.state_dict()[name])


def test_an_encoder_of_another_build_is_refused(hosts, towers):
    half = VisionHalf(hosts["llava"].base_model, 2)
    with pytest.raises(SdvlmError, match="reads 2 planes, the encoder's 1"):
        half.load_tower(DepthEncoder.from_rgb(towers["clip"], DepthChannels(extras=())))
    with pytest.raises(SdvlmError, match="SiglipVisionModel does not fit the host's CLIPVisionModel"):
        half.load_tower(DepthEncoder.from_rgb(towers["siglip"]))
    wider = hf.CLIPVisionModel(hf.CLIPVisionConfig(**{**towers["clip"].config.to_dict(), "intermediate_size": 40}))
    with pytest.raises(SdvlmError, match="weights differ"):
        half.load_tower(DepthEncoder.from_rgb(wider))


def test_what_is_no_vision_language_model_is_refused(towers, hosts):
    for other in (towers["clip"], hosts["llava"].model.language_model):
        with pytest.raises(SdvlmError, match="makes no image tokens"):
            VisionHalf(other, 2)
