"""Depth to the number that is encoded: each formula, its sign, its limits, and what it refuses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdvlm.fusion.coordinate import COORDINATES, accepted_kinds, coordinate, signed_log
from sdvlm.types import DepthKind, SdvlmError

SOME_Z = [0.3, 1.0, 2.5, 7.0, 31.0]


def test_log_metric_follows_its_formula_and_clips_at_its_ends(make_grid):
    got = coordinate(make_grid([0.02, 0.1, 1.0, 3.7, 100.0, 400.0]), "log_metric").tolist()
    expected = [math.log(min(max(z, 0.1), 100) / 0.1) / math.log(1000) for z in (0.02, 0.1, 1.0, 3.7, 100.0, 400.0)]
    assert got == pytest.approx(expected, abs=1e-6)
    assert (got[0], got[-1]) == pytest.approx((0.0, 1.0), abs=1e-6)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_scaling_depth_moves_log_metric_by_a_constant_and_min_max_not_at_all(make_grid, factor):
    plain, scaled = make_grid(SOME_Z), make_grid([factor * z for z in SOME_Z])
    shift = coordinate(scaled, "log_metric") - coordinate(plain, "log_metric")
    assert shift.tolist() == pytest.approx([math.log(factor) / math.log(1000)] * len(SOME_Z), abs=1e-6)
    for name in ("minmax", "sdvlm_compat"):
        torch.testing.assert_close(coordinate(scaled, name), coordinate(plain, name))


def test_metres_are_metres_and_inverse_is_at_most_ten_per_metre(make_grid):
    assert coordinate(make_grid(SOME_Z), "metres").tolist() == pytest.approx(SOME_Z)
    assert coordinate(make_grid([0.01, 0.5, 4.0]), "inverse").tolist() == pytest.approx([10.0, 2.0, 0.25])


def test_min_max_is_taken_in_each_picture_on_its_own(make_grid):
    grid = make_grid([1.0, 2.0, 3.0, 10.0, 30.0, 50.0], image_index=[0, 0, 0, 1, 1, 1])
    assert coordinate(grid, "minmax").tolist() == pytest.approx([0, 0.5, 1, 0, 0.5, 1])
    assert coordinate(grid, "sdvlm_compat").tolist() == pytest.approx([0, 50, 100, 0, 50, 100])


def test_min_max_puts_the_farthest_at_one_whatever_the_kind_and_compat_turns_nothing_round(make_grid):
    z = torch.tensor([1.0, 2.0, 4.0])
    sources = {"metric": z, "relative": 3 * z - 1, "disparity": 5 / z}
    for kind, values in sources.items():
        grid = make_grid(values, kind=kind)
        assert coordinate(grid, "minmax")[[0, 2]].tolist() == pytest.approx([0.0, 1.0])
        ends = [100.0, 0.0] if kind == "disparity" else [0.0, 100.0]  # as the released code: fusion-methods.md 0.7
        assert coordinate(grid, "sdvlm_compat")[[0, 2]].tolist() == pytest.approx(ends, abs=1e-4)


def test_min_max_of_a_flat_picture_is_zero_and_of_one_without_depth_unknown(make_grid):
    grid = make_grid([2.0, 2.0, math.nan, math.nan], image_index=[0, 0, 1, 1])
    got = coordinate(grid, "minmax")
    assert got[:2].tolist() == [0.0, 0.0]
    assert torch.isnan(got[2:]).all()


@pytest.mark.parametrize("name", COORDINATES)
def test_unknown_depth_stays_unknown_and_does_not_touch_its_neighbours(make_grid, name):
    known = coordinate(make_grid([1.0, 4.0, 2.0]), name)
    mixed = coordinate(make_grid([1.0, math.nan, 4.0, 2.0]), name)
    assert torch.isnan(mixed).tolist() == [False, True, False, False]
    assert torch.equal(mixed[[0, 2, 3]], known)


@given(st.lists(st.floats(0.11, 99), min_size=2, max_size=8, unique=True), st.sampled_from(sorted(COORDINATES)))
@settings(max_examples=40, deadline=None)
def test_every_coordinate_of_metric_depth_orders_things_by_distance(depths, name):
    from sdvlm.fusion.depth_grid import CHANNELS, DepthGrid

    z = torch.tensor(sorted(depths))
    columns = dict.fromkeys(CHANNELS, torch.ones_like(z)) | {"z": z}
    got = coordinate(DepthGrid(**columns, image_index=torch.zeros(len(z)).long()), name)
    steps = got.diff() * (-1 if name == "inverse" else 1)
    assert (steps >= 0).all()
    assert (steps.sum() > 0) == bool(z[-1] > z[0])


@pytest.mark.parametrize("kind", ["relative", "disparity"])
@pytest.mark.parametrize("name", ["log_metric", "metres", "inverse"])
def test_depth_that_is_not_metric_cannot_enter_a_metric_coordinate(make_grid, name, kind):
    with pytest.raises(SdvlmError, match=f"'{name}' needs metric depth in metres, got {kind}"):
        coordinate(make_grid(SOME_Z, kind=kind), name)


def test_one_disparity_picture_in_a_metric_batch_is_enough_to_refuse(make_grid):
    grid = make_grid([1.0, 2.0])
    grid.kind[1] = 3
    with pytest.raises(SdvlmError, match="got disparity"):
        coordinate(grid, "log_metric")


def test_pictures_without_depth_may_join_any_batch(make_grid):
    grid = make_grid([1.0, math.nan])
    grid.kind[1] = 0
    assert torch.isnan(coordinate(grid, "log_metric")).tolist() == [False, True]


def test_an_unknown_coordinate_is_refused_with_the_choices():
    with pytest.raises(SdvlmError, match=r"no depth coordinate 'feet'; choose one of log_metric, metres"):
        accepted_kinds("feet")


def test_min_max_coordinates_take_every_kind():
    assert accepted_kinds("minmax") == accepted_kinds("sdvlm_compat") == frozenset(DepthKind)


def test_the_coordinate_is_float32_under_autocast(make_grid):
    expected = coordinate(make_grid(SOME_Z), "log_metric")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(coordinate(make_grid(SOME_Z), "log_metric"), expected)


def test_the_signed_log_is_odd_monotone_and_reaches_one_at_100_metres():
    x = torch.linspace(-100, 100, 201)
    got = signed_log(x)
    torch.testing.assert_close(got, -got.flip(0))
    assert (got.diff() > 0).all()
    assert got[-1].item() == pytest.approx(1.0)
    assert got[101].item() == pytest.approx(math.asinh(1.0 / 0.1) / math.asinh(1000), abs=1e-6)
