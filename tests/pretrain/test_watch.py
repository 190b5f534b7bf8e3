"""The watch says what a loss curve does not show, and is silent about a sound run."""

import math

import pytest

from sdvlm.pretrain.watch import Watch, fault_of_loss

START = {
    "trunk_r2": 0.95, "trunk_scale_r2": 0.96, "effective_rank_trunk": 40.0, "effective_rank_embedding": 30.0,
    "depth_to_rgb_r1": 0.001, "rgb_to_depth_r1": 0.001, "retrieval_chance": 0.001,
}  # fmt: skip
GOOD = START | {"depth_to_rgb_r1": 0.3, "rgb_to_depth_r1": 0.2}


def test_a_sound_run_is_not_warned_about_at_any_time():
    for progress in (0.0, 0.2, 0.5, 1.0):
        assert Watch(START).faults(START if progress < 0.3 else GOOD, progress) == {}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"trunk_r2": 0.80}, "lost scale (trunk_r2)"),
        ({"trunk_scale_r2": 0.55}, "lost scale (trunk_scale_r2)"),
        ({"effective_rank_embedding": 1.3}, "collapse of the embedding"),
        ({"effective_rank_trunk": 9.0}, "collapse of the trunk"),
        ({"trunk_r2": math.nan}, "not finite"),
        ({"depth_to_rgb_r1": 0.001, "rgb_to_depth_r1": 0.002}, "no retrieval"),
    ],
)
def test_each_way_to_go_wrong_is_said_in_one_line(change, kind):
    said = Watch(START).faults(GOOD | change, progress=0.5)
    assert set(said) == {kind}
    assert "\n" not in said[kind]


def test_perfect_retrieval_does_not_hide_lost_scale():
    # fusion-methods 4.1 P1: retrieval 0.99 while the trunk's R2 of log scale falls from 0.999 to 0.546
    said = Watch({"trunk_r2": 0.999}).faults({"trunk_r2": 0.546, "depth_to_rgb_r1": 0.99, "retrieval_chance": 0.002}, 1)
    assert set(said) == {"lost scale (trunk_r2)"}
    assert "0.546" in said["lost scale (trunk_r2)"]


def test_a_low_start_is_no_fault_before_there_was_time_to_learn():
    low = START | {"trunk_r2": 0.2}
    assert Watch(low).faults(low, 0.1) == {}
    assert set(Watch(low).faults(low, 0.5)) == {"lost scale (trunk_r2)", "no retrieval"}


def test_losses_that_are_no_numbers_or_all_zero_are_faults():
    assert fault_of_loss({"contrast": 1.0, "reconstruction": 0.0}, 3) is None
    assert "step 3" in fault_of_loss({"contrast": math.nan, "reconstruction": 1.0}, 3)
    assert "zero" in fault_of_loss({"contrast": 0.0, "reconstruction": 0.0}, 3)


def test_a_few_held_out_pairs_raise_no_alarm():
    """Two pairs have an effective rank below 2 from the start, and half of them found is no chance."""
    start = START | {"effective_rank_trunk": 1.8, "effective_rank_embedding": 1.7}
    now = start | {"retrieval_chance": 0.3333, "depth_to_rgb_r1": 0.6667, "rgb_to_depth_r1": 0.6667}
    assert Watch(start).faults(now, 1.0) == {}
    assert "no retrieval" in Watch(start).faults(now | {"depth_to_rgb_r1": 0.5, "rgb_to_depth_r1": 0.5}, 1.0)
