"""The contrastive loss against its formula written out, its options, and its temperature."""

import math

import pytest
import torch

from sdvlm.pretrain.info_nce import NO_SCENE, Temperature, info_nce, scene_numbers
from sdvlm.types import SdvlmError


def by_formula(depth, rgb, scale, scenes=None):
    """-log of the softmax share of the own pair, over rows and over columns, one pair at a time."""
    pairs, total = len(depth), 0.0
    cosine = [[float(a @ b / (a.norm() * b.norm())) for b in rgb.double()] for a in depth.double()]
    for i in range(pairs):
        rivals = [j for j in range(pairs) if j == i or scenes is None or not scenes[i] or scenes[i] != scenes[j]]
        for row in ([cosine[i][j] for j in rivals], [cosine[j][i] for j in rivals]):
            total -= scale * cosine[i][i] - math.log(sum(math.exp(scale * one) for one in row))
    return total / (2 * pairs)


def test_the_loss_is_the_formula_written_out_pair_by_pair():
    torch.manual_seed(0)
    depth, rgb = torch.randn(7, 5), 3 * torch.randn(7, 5)
    got = info_nce(depth, rgb, torch.tensor(math.log(8.0)))
    assert float(got.loss) == pytest.approx(by_formula(depth, rgb, 8.0), abs=1e-5)
    assert float(got.ignored) == 0


def test_masked_false_negatives_are_left_out_of_both_sums_and_unknown_scenes_are_not():
    torch.manual_seed(1)
    depth, rgb = torch.randn(6, 4), torch.randn(6, 4)
    names = ["a", "b", "a", "", "", "b"]
    got = info_nce(depth, rgb, torch.tensor(2.0), names, "mask")
    assert float(got.loss) == pytest.approx(by_formula(depth, rgb, math.exp(2.0), names), abs=1e-5)
    assert float(got.ignored) == pytest.approx(4 / 30)
    kept = info_nce(depth, rgb, torch.tensor(2.0), names, "keep")
    assert float(kept.loss) == pytest.approx(by_formula(depth, rgb, math.exp(2.0)), abs=1e-5)


def test_a_batch_of_one_scene_masked_has_no_negatives_and_no_gradient():
    depth = torch.randn(4, 3, requires_grad=True)
    loss = info_nce(depth, torch.randn(4, 3), torch.tensor(2.0), ["a"] * 4, "mask").loss
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(depth.grad, torch.zeros(4, 3))


def test_features_that_say_nothing_cost_log_of_the_batch():
    same = torch.ones(9, 4)
    assert float(info_nce(same, same, torch.tensor(2.0)).loss) == pytest.approx(math.log(9), abs=1e-6)


def test_accuracies_count_pairs_that_find_each_other():
    rgb = torch.eye(4)
    got = info_nce(rgb[[0, 1, 3, 2]], rgb, torch.tensor(1.0))
    assert float(got.depth_to_rgb) == float(got.rgb_to_depth) == 0.5


def test_half_precision_features_give_the_loss_of_their_float32_values_also_under_autocast():
    torch.manual_seed(2)
    depth, rgb = torch.randn(8, 16).bfloat16(), torch.randn(8, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got = info_nce(depth, rgb, torch.tensor(math.log(100.0))).loss
    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(by_formula(depth, rgb, 100.0), rel=1e-5)


def test_a_feature_of_zero_length_has_a_finite_gradient():
    depth = torch.zeros(3, 4, requires_grad=True)
    info_nce(depth, torch.randn(3, 4), torch.tensor(1.0)).loss.backward()
    assert depth.grad.isfinite().all()


def test_scene_numbers_are_fixed_and_an_empty_name_is_no_scene():
    numbers = scene_numbers(["scene0000_00", "", "scene0000_01", "scene0000_00"])
    assert numbers[0] == numbers[3] != numbers[2]
    assert numbers[1] == NO_SCENE
    assert int(numbers[0]) == 8499994402374519208  # b2sum of 64 bits, halved: the same in every process


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 2), torch.zeros(4, 2), torch.zeros(())), r"\[3, 2\] and \[4, 2\]"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(()), ["a"], "mask"), "1 scenes for 3 pairs"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(()), None, "mask"), "needs the scene"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(()), None, "avoid"), "choose one of keep, mask"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    with pytest.raises(SdvlmError, match=message):
        info_nce(*arguments)


def test_a_fixed_temperature_is_saved_and_is_no_parameter():
    fixed = Temperature(0.2)
    assert list(fixed.parameters()) == []
    again = Temperature()
    again.load_state_dict(fixed.state_dict())
    assert again.temperature == pytest.approx(0.2)


def test_a_learned_temperature_moves_and_is_clamped_at_both_ends():
    learned = Temperature(0.07, learned=True)
    info_nce(torch.eye(3), torch.eye(3), learned()).loss.backward()
    assert learned.log_scale.grad < 0  # pairs already found: a larger scale lowers the loss
    with torch.no_grad():
        learned.log_scale.fill_(9.0)
    learned.clamp_()
    assert learned.temperature == pytest.approx(0.01)
    with torch.no_grad():
        learned.log_scale.fill_(-3.0)
    learned.clamp_()
    assert learned.temperature == pytest.approx(1.0)


@pytest.mark.parametrize("initial", [0.0, -1.0, 0.001, 2.0, math.nan])
def test_a_temperature_out_of_range_is_refused(initial):
    with pytest.raises(SdvlmError, match="temperature must lie between"):
        Temperature(initial)
