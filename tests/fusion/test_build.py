"""The contract of every fusion of pooled depth, found by walking ``FUSIONS``; and the config a checkpoint carries."""

import math

import pytest
import torch

from sdvlm.fusion.build import FUSIONS, build_fusion
from sdvlm.fusion.config import DRAWN_OR_WORDED, PLACES, POOLED, FusionConfig
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.types import SdvlmError

ADDED = {name for name in POOLED if PLACES[name] == "tokens"}
PRESETS = sorted({*ADDED, "sdvlm", "sdvlm_official"})
STARTS_AT_ZERO = sorted(ADDED - {"dpe", "rope"})
HIDDEN = 16


def _tokens(count, seed=0, dtype=torch.float32):
    return torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _trained(name, seed=0):
    """A fusion whose every parameter is away from its start."""
    torch.manual_seed(seed)
    fusion = build_fusion(FusionConfig.preset(name), HIDDEN)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return fusion


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", STARTS_AT_ZERO)
def test_a_fresh_learned_fusion_is_the_identity_bit_for_bit(make_grid, name, dtype):
    fusion = build_fusion(FusionConfig.preset(name), HIDDEN).to(dtype)
    tokens = _tokens(4, dtype=dtype)
    assert torch.equal(fusion(tokens, make_grid([0.3, 1.0, 5.0, math.nan], camera=True)), tokens)


@pytest.mark.parametrize("name", PRESETS)
def test_a_trained_fusion_moves_tokens_with_depth_and_leaves_those_without_bit_for_bit(make_grid, name):
    tokens = _tokens(5)
    got = _trained(name)(tokens, make_grid([math.nan, 1.0, math.nan, 5.0, 2.0], camera=True))
    assert torch.equal(got[[0, 2]], tokens[[0, 2]])
    coded = [3, 4] if name == "rope" else [1, 3, 4]  # a rotation turns the nearest token by nothing
    assert ((got - tokens)[coded].abs().amax(dim=-1) > 1e-3).all()


@pytest.mark.parametrize("name", PRESETS)
def test_a_picture_without_any_depth_passes_bit_for_bit(make_grid, name):
    tokens, grid = _tokens(3), make_grid([math.nan] * 3)
    grid.kind.zero_()
    assert torch.equal(_trained(name)(tokens, grid), tokens)


@pytest.mark.parametrize("name", PRESETS)
def test_a_batch_of_pictures_equals_the_pictures_one_by_one(make_grid, name):
    # 1.0 and 40 m: per-image ranges and norms must not leak from one picture into another
    fusion = _trained(name)
    grids = [make_grid([0.3, 1.0, 0.7], camera=True), make_grid([40.0, 12.0, math.nan, 9.0], camera=True)]
    tokens = [_tokens(3), 50 * _tokens(4, seed=1)]
    alone = torch.cat([fusion(t, g) for t, g in zip(tokens, grids, strict=True)])
    batch = fusion(torch.cat(tokens), DepthGrid.concatenate(grids))
    torch.testing.assert_close(batch, alone, rtol=1e-4, atol=1e-3)  # of norms up to 200


@pytest.mark.parametrize("name", PRESETS)
def test_depth_of_one_token_moves_only_that_token(make_grid, name):
    fusion, tokens = _trained(name), _tokens(4)
    before = fusion(tokens, make_grid([1.0, 2.0, 3.0, 9.0], camera=True))
    after = fusion(tokens, make_grid([1.0, 2.5, 3.0, 9.0], camera=True))  # inside the range of min-max too
    assert torch.nonzero((before != after).any(dim=-1)).flatten().tolist() == [1]


@pytest.mark.parametrize("name", sorted({*PRESETS} - {"rope"}))
def test_gradient_reaches_the_tokens_unchanged_at_the_start(make_grid, name):
    fusion, tokens = build_fusion(FusionConfig.preset(name), HIDDEN), _tokens(3).requires_grad_()
    weights = _tokens(3, seed=1)
    (fusion(tokens, make_grid([1.0, math.nan, 3.0])) * weights).sum().backward()
    torch.testing.assert_close(tokens.grad, weights)


@pytest.mark.parametrize("name", STARTS_AT_ZERO)
def test_every_fresh_learned_fusion_gets_a_gradient_and_no_nan(make_grid, name):
    torch.manual_seed(0)
    fusion = build_fusion(FusionConfig.preset(name), HIDDEN)
    fusion(_tokens(3), make_grid([1.0, math.nan, 3.0])).square().sum().backward()
    gradients = [parameter.grad for parameter in fusion.parameters()]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert any((g != 0).any() for g in gradients)


@pytest.mark.parametrize("name", PRESETS)
def test_disparity_enters_only_fusions_that_say_they_take_it(make_grid, name):
    config = FusionConfig.preset(name)
    fusion, grid = build_fusion(config, HIDDEN), make_grid([1.0, 2.0], kind="disparity")
    if "disparity" in config.kinds:
        assert torch.isfinite(fusion(_tokens(2), grid)).all()
    else:
        with pytest.raises(SdvlmError, match="needs metric depth in metres, got disparity"):
            fusion(_tokens(2), grid)


def test_the_papers_fusion_has_no_parameters_and_the_gated_one_has_one_a_channel():
    count = {n: sum(p.numel() for p in build_fusion(FusionConfig.preset(n), HIDDEN).parameters()) for n in PRESETS}
    assert count["dpe"] == count["sdvlm"] == count["rope"] == 0
    assert count["gated"] == HIDDEN


def test_every_fusion_with_a_place_in_the_model_has_a_builder():
    assert set(FUSIONS) == set(PLACES) - DRAWN_OR_WORDED


@pytest.mark.parametrize("name", sorted(DRAWN_OR_WORDED))
def test_depth_in_the_prompt_has_no_module(name):
    with pytest.raises(SdvlmError, match="has no module"):
        build_fusion(FusionConfig.preset(name), HIDDEN)


@pytest.mark.parametrize("name", sorted({*FUSIONS, *PRESETS}))
def test_a_config_comes_back_from_its_dict(name):
    config = FusionConfig.preset(name)
    assert FusionConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("name", PRESETS)
def test_weights_of_a_trained_fusion_load_strictly_into_one_built_from_its_config(make_grid, name):
    trained, fresh = _trained(name), build_fusion(FusionConfig.preset(name), HIDDEN)
    fresh.load_state_dict(trained.state_dict(), strict=True)
    grid = make_grid([1.0, 2.0, 3.0], camera=True)
    assert torch.equal(fresh(_tokens(3), grid), trained(_tokens(3), grid))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "magic"}, "no fusion 'magic'; choose one of dpe, gated"),
        ({"coordinate": "feet"}, "no depth coordinate 'feet'"),
        ({"scale": 0.0}, "scale must be a positive number"),
        ({"base": -1.0}, "base must be a positive number"),
        ({"relative_norm": math.nan}, "relative_norm must be a positive number"),
        ({"code_dim": 33}, "code_dim must be even"),
        ({"pooling": "median"}, "no fusion pooling 'median'; choose one of boxes, unpadded"),
        ({"sine_dtype": "bfloat16"}, "no fusion sine_dtype 'bfloat16'; choose one of float32, float16"),
        ({"name": "pointmap", "pooling": "unpadded"}, "'pointmap' needs the points of token boxes"),
        ({"name": "depth_image", "renderer": "jet"}, "no fusion renderer 'jet'; choose one of pack24"),
        ({"name": "depth_prompt", "prompt": "poem"}, "no fusion prompt 'poem'; choose one of grid, objects"),
        ({"name": "depth_token", "bins": 0}, "bins must be a positive number"),
        ({"name": "concat"}, "'concat' reads pixels: say which channels"),
        ({"name": "dpe", "channels": {"coordinate": "log_metric"}}, "'dpe' reads no pixels: leave channels"),
    ],
)
def test_settings_no_fusion_can_be_built_from_are_refused(settings, message):
    with pytest.raises(SdvlmError, match=message):
        FusionConfig(**settings)


def test_a_config_of_before_there_was_a_choice_of_pooling_means_boxes_in_float32():
    older = {"name": "dpe", "coordinate": "sdvlm_compat", "scale": 1.0, "base": 10_000.0}
    assert FusionConfig.from_dict(older) == FusionConfig.preset("sdvlm")


def test_a_config_from_a_newer_version_is_refused():
    with pytest.raises(SdvlmError, match="unknown fusion settings colour"):
        FusionConfig.from_dict({"name": "dpe", "colour": 3})


def test_only_fusions_that_look_along_rays_use_a_camera():
    used = {name for name in PLACES if FusionConfig.preset(name).uses_camera}
    assert used == {"pointmap"}
    tilted = DepthChannels(extras=("valid", "normal")).to_dict()
    assert FusionConfig("adapter", channels=tilted).uses_camera
