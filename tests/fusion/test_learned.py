"""What is special to the learned fusions: gradients through the zero, norm matching, and what the point map sees."""

import pytest
import torch

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.coordinate import coordinate
from sdvlm.fusion.learned import DepthMLP, PointMapMLP


def _tokens(count, width=16, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def _wake(fusion, seed=0):
    """Give the zero-initialised last layer weights, as training would."""
    torch.manual_seed(seed)
    torch.nn.init.normal_(fusion.mlp.last.weight, std=0.1)
    return fusion


@pytest.mark.parametrize("name", ["mlp", "pointmap"])
def test_gradient_passes_the_zero_layer_in_one_step_and_the_first_layer_in_two(make_grid, name):
    torch.manual_seed(0)
    fusion = build_fusion(FusionConfig.preset(name), 16)
    tokens, grid, target = _tokens(4), make_grid([0.5, 1.0, 2.0, 4.0], camera=True), _tokens(4, seed=1)
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1)
    losses = []
    for step in range(3):
        optimizer.zero_grad()
        loss = (fusion(tokens, grid) - target).square().mean()
        loss.backward()
        assert fusion.mlp.last.weight.grad.abs().sum() > 0
        assert (fusion.mlp.first.weight.grad.abs().sum() > 0) == (step > 0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize("size", [0.01, 300.0])
def test_the_update_keeps_its_proportion_to_the_tokens_however_large_they_are(make_grid, size):
    fusion, grid = _wake(DepthMLP(16)), make_grid([0.5, 1.0, 2.0])
    small, large = _tokens(3), size * _tokens(3)
    torch.testing.assert_close((fusion(large, grid) - large) / size, fusion(small, grid) - small, rtol=1e-3, atol=1e-4)


def test_the_mlp_tells_a_token_half_unknown_from_one_fully_known(make_grid):
    fusion, tokens = _wake(DepthMLP(16)), _tokens(2)
    grid = make_grid([2.0, 2.0])
    grid.valid[1] = 0.5
    update = fusion(tokens, grid) - tokens
    assert not torch.allclose(update[0], update[1])


def test_the_point_map_works_without_a_camera_and_still_sees_depth(make_grid):
    fusion, tokens = _wake(PointMapMLP(16)), _tokens(3)
    near, far = (fusion(tokens, make_grid(z)) for z in ([1.0, 1.0, 1.0], [4.0, 4.0, 4.0]))
    assert torch.isfinite(near).all()
    assert (near - far).abs().max() > 1e-3


def test_the_point_map_sees_the_focal_length_that_depth_alone_does_not_show(make_grid):
    # Two pictures with equal z: a long lens sees points nearer to the axis than a wide one.
    tokens, wide, long = _tokens(3), make_grid([2.0, 2.0, 2.0], camera=True), make_grid([2.0, 2.0, 2.0], camera=True)
    for name in ("x", "y", "ray_x", "ray_y"):
        getattr(long, name).mul_(0.25)
    point_map, mlp = _wake(PointMapMLP(16)), _wake(DepthMLP(16))
    moved = (point_map(tokens, wide) - point_map(tokens, long)).norm(dim=-1)
    assert (moved[[0, 2]] > 1e-3).all()  # off the axis
    assert moved[1] < 1e-6  # on the axis
    assert torch.equal(mlp(tokens, wide), mlp(tokens, long))


def test_the_point_map_sees_the_spread_within_a_token(make_grid):
    fusion, tokens = _wake(PointMapMLP(16)), _tokens(1)
    flat, edge = make_grid([2.0]), make_grid([2.0])
    edge.z_max.fill_(9.0)
    assert not torch.allclose(fusion(tokens, flat), fusion(tokens, edge))


@pytest.mark.parametrize("name", ["mlp", "pointmap"])
def test_a_bfloat16_fusion_computes_its_code_in_float32(make_grid, name):
    fusion = _wake(build_fusion(FusionConfig.preset(name), 16)).to(torch.bfloat16)
    grid = make_grid([60.0, 60.3])
    position = 30 * coordinate(grid, "log_metric")
    assert position.to(torch.bfloat16).unique().numel() == 1  # bfloat16 angles could not tell these two apart
    updated = fusion(torch.ones(2, 16, dtype=torch.bfloat16), grid)
    assert updated.dtype == torch.bfloat16
    assert not torch.equal(updated[0], updated[1])


def test_a_mlp_trained_under_autocast_keeps_the_tokens_type(make_grid):
    fusion, tokens, grid = _wake(DepthMLP(16)), _tokens(3), make_grid([1.0, 2.0, 3.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = fusion(tokens, grid)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, fusion(tokens, grid), rtol=0.05, atol=0.02)
