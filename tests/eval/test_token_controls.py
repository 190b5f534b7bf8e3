"""T0 and T6 on real modules: they pass every fusion there is, and fail ones broken on purpose."""

import numpy as np
import pytest
import torch

from sdvlm.eval.token_controls import identity, locality
from sdvlm.eval.toy import draw, packed_grid, tiny_llava
from sdvlm.eval.toy_inputs import toy_inputs
from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import PLACES, POOLED, FusionConfig
from sdvlm.geometry.transform import center_crop, letterbox, resize
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

PRESETS = sorted({*POOLED, "sdvlm"})
SIZES = [(64, 48), (37, 81), (53, 53)]


ADDS_TOKENS = sorted(name for name, place in PLACES.items() if place in ("picture", "text"))


def _inputs(name):
    """The toy's pictures and questions without depth and with it."""
    batch = draw(np.random.default_rng(0), 2, "ordinal")
    made = (
        toy_inputs(None, batch.pixels, None),
        toy_inputs(FusionConfig.preset(name), batch.pixels, packed_grid(batch.z)),
    )
    return [one | {"attention_mask": torch.ones_like(one["input_ids"])} for one in made]


@pytest.mark.parametrize("name", sorted(set(PLACES) - {"dpe", "rope", *ADDS_TOKENS}))
def test_fresh_learned_fusions_leave_the_model_as_it_is(name):
    result = identity(DepthVLM.from_vlm(tiny_llava(0), name), *_inputs(name))
    assert (result.passed, result.value) == (True, 0.0)


@pytest.mark.parametrize("name", ADDS_TOKENS)
def test_fusions_with_tokens_of_their_own_are_exempt_and_say_so(name):
    result = identity(DepthVLM.from_vlm(tiny_llava(0), name), *_inputs(name))
    assert result.passed is None
    assert "16 tokens of its own" in result.why


@pytest.mark.parametrize("name", ["dpe", "rope", "sdvlm"])
def test_fusions_without_parameters_are_exempt_and_say_so(name):
    result = identity(DepthVLM.from_vlm(tiny_llava(0), name), *_inputs(name))
    assert result.passed is None
    assert result.value > 1e-6
    assert "exempt" in result.why


def test_a_fusion_that_does_not_start_at_zero_fails_identity():
    model = DepthVLM.from_vlm(tiny_llava(0), "mlp")
    torch.nn.init.normal_(model.fusion.mlp.last.weight, std=0.1)
    assert identity(model, *_inputs("mlp")).passed is False


def test_identity_refuses_a_grid_that_proves_nothing():
    inputs, given = _inputs("mlp")
    given["depth_grid"] = torch.full_like(given["depth_grid"], torch.nan)
    with pytest.raises(SdvlmError, match="with depth in it"):
        identity(DepthVLM.from_vlm(tiny_llava(0), "mlp"), inputs, given)


def _boxes(size, how):
    """Token boxes of an 8 x 8 grid on a 64-pixel square behind a processor, in original pixels."""
    cells = np.array([[8 * i, 8 * j, 8 * i + 8, 8 * j + 8] for j in range(8) for i in range(8)])
    short = 64 / min(size)
    grown = (max(64, round(size[0] * short)), max(64, round(size[1] * short)))
    seen = letterbox(size, (64, 64)) if how == "pad" else resize(size, grown).then(center_crop(grown, (64, 64)))
    return seen.boxes_to_source(cells)


@pytest.mark.parametrize("how", ["pad", "crop"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PRESETS)
def test_every_fusion_is_local_for_padded_and_cropped_pictures_of_odd_sizes(name, size, how):
    fusion = build_fusion(FusionConfig.preset(name), 16)
    result = locality(fusion, 16, _boxes(size, how), size, np.random.default_rng(0))
    assert result.passed, result.why


def test_a_fusion_that_mixes_tokens_is_not_local():
    class Leaks(torch.nn.Module):
        def forward(self, tokens, grid):
            return tokens + torch.nan_to_num(grid.z).mean()

    result = locality(Leaks(), 16, _boxes((64, 48), "pad"), (64, 48), np.random.default_rng(0))
    assert result.passed is False
    assert result.value > 0


def test_a_fusion_that_ignores_depth_is_not_called_local():
    class Deaf(torch.nn.Module):
        def forward(self, tokens, grid):
            return tokens

    assert locality(Deaf(), 16, _boxes((64, 48), "pad"), (64, 48), np.random.default_rng(0)).passed is False
