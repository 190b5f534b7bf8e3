"""The sine code against the formula in a loop of Python floats, and against published golden values."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.fusion.sinusoid import sinusoid
from sdvlm.types import SdvlmError

CASES = Path(__file__).parents[3] / "shared" / "golden" / "sd_vlm_official" / "cases.npz"


@given(st.floats(-100, 100), st.sampled_from([2, 6, 64]), st.sampled_from([100.0, 10_000.0]))
@settings(max_examples=50, deadline=None)
def test_each_channel_follows_the_formula(value, dim, base):
    value = float(torch.tensor(value))  # as float32 holds it
    code = sinusoid(torch.tensor([value]), dim, base)[0]
    for k in range(dim // 2):
        angle = value * base ** (-k / (dim / 2))
        assert code[2 * k].item() == pytest.approx(math.sin(angle), abs=3e-5)
        assert code[2 * k + 1].item() == pytest.approx(math.cos(angle), abs=3e-5)


@pytest.mark.parametrize(
    ("value", "channels"),
    [  # reference benchmarks-and-data.md 10.2, double precision
        (0.0, [0, 1, 0, 1, 0, 1, 0, 1]),
        (37.5, [-0.197799, 0.980243, -0.571561, -0.820559, 0.366273, 0.930508, 0.037491, 0.999297]),
        (100.0, [-0.506366, 0.862319, -0.544021, -0.839072, 0.841471, 0.540302, 0.099833, 0.995004]),
    ],
)
def test_eight_channels_match_the_golden_values(value, channels):
    assert sinusoid(torch.tensor([value]), 8)[0].tolist() == pytest.approx(channels, abs=1e-5)


@pytest.mark.parametrize(
    ("k", "sin", "cos"), [(1, -0.830318, 0.557289), (1024, 0.841471, 0.540302), (2047, 0.010045, 0.999950)]
)
def test_4096_channels_match_the_golden_values(k, sin, cos):  # reference benchmarks-and-data.md 10.2
    code = sinusoid(torch.tensor([100.0]), 4096)[0]
    assert code[2 * k : 2 * k + 2].tolist() == pytest.approx([sin, cos], abs=2e-5)


def test_a_code_has_norm_sqrt_of_half_its_width_and_an_unknown_coordinate_has_none():
    code = sinusoid(torch.tensor([[0.0, 3.3], [math.nan, 88.0]]), 4096)
    assert code.shape == (2, 2, 4096)
    assert code.norm(dim=-1)[[0, 0, 1], [0, 1, 1]].tolist() == pytest.approx([2048**0.5] * 3, rel=1e-5)
    assert (code[1, 0] == 0).all()


def test_the_code_stays_float32_under_bfloat16_autocast_and_for_a_bfloat16_coordinate():
    values = torch.tensor([100.0, 37.5, 64.0])  # exact in bfloat16
    expected = sinusoid(values, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sinusoid(values, 64)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)
    assert torch.equal(sinusoid(values.to(torch.bfloat16), 64), expected)


def test_what_bfloat16_angles_would_have_cost_is_large():
    # Why the code is float32 inside: the same formula with bfloat16 angles is off by more than a tenth.
    angle = torch.linspace(0, 100, 1000)
    assert (angle.to(torch.bfloat16).float().sin() - angle.sin()).abs().max() > 0.1


@pytest.mark.parametrize("dim", [0, -2, 7])
def test_an_odd_or_empty_width_is_refused(dim):
    with pytest.raises(SdvlmError, match=f"even and positive; got {dim}"):
        sinusoid(torch.zeros(1), dim)


def test_half_precision_rounds_frequencies_angles_and_sines_as_the_released_order_of_steps_does():
    positions = torch.linspace(0, 100, 50)
    half = np.float16(32)
    frequency = np.float16(1) / np.power(np.float16(10_000), (np.arange(32, dtype=np.float16) / half))
    angle = positions.numpy().astype(np.float16)[:, None] * frequency
    found = sinusoid(positions, 64, dtype="float16").numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, ::2], np.sin(angle), atol=2e-3)  # the last bit of a cosine may differ
    np.testing.assert_allclose(found[:, 1::2], np.cos(angle), atol=2e-3)


@pytest.mark.skipif(not CASES.exists(), reason=f"the recorded outputs are not here: {CASES}")
@pytest.mark.parametrize(("width", "recorded"), [(64, 0.06799204647541046), (4096, 0.10197891294956207)])
def test_half_precision_is_as_far_from_float32_as_recorded(width, recorded):
    with np.load(CASES) as arrays:
        grids = [torch.from_numpy(arrays[f"image{i}/depth_grid"]).flatten() for i in range(5)]
    apart = [(sinusoid(g, width, dtype="float16") - sinusoid(g, width)).abs().max().item() for g in grids]
    assert max(apart) == pytest.approx(recorded, abs=1e-4)


def test_only_dtypes_that_were_released_are_known():
    with pytest.raises(SdvlmError, match="no sine dtype 'bfloat16'; choose one of float32, float16"):
        sinusoid(torch.zeros(1), 8, dtype="bfloat16")
