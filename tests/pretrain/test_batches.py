"""Batches of an epoch: every pair at most once, scenes apart, the same from any step on."""

from collections import Counter
from itertools import islice

from sdvlm.pretrain.batches import batch_at, chosen_share, epoch_batches, repeated_scenes

SCENES = [f"room{number // 5}" for number in range(60)]  # 12 rooms of 5 frames


def test_each_batch_has_at_most_one_frame_of_a_scene_where_there_are_enough():
    batches = epoch_batches(SCENES, 12, seed=0, epoch=3)
    assert len(batches) == 5
    for batch in batches:
        assert len({SCENES[one] for one in batch}) == 12
    assert sorted(one for batch in batches for one in batch) == list(range(60))


def test_uneven_scenes_are_spread_so_that_the_largest_does_not_pile_up_at_the_end():
    scenes = ["big"] * 8 + [f"small{number}" for number in range(24)]
    batches = epoch_batches(scenes, 4, seed=1, epoch=0)
    assert len(batches) == 8
    assert repeated_scenes(scenes, batches) == 0


def test_more_pairs_in_a_batch_than_scenes_repeats_scenes_evenly():
    batches = epoch_batches(SCENES, 24, seed=0, epoch=0)
    assert len(batches) == 2
    for batch in batches:
        assert len(set(batch)) == 24
        assert set(Counter(SCENES[one] for one in batch).values()) == {2}


def test_pairs_without_a_scene_are_each_their_own():
    batches = epoch_batches([""] * 10, 5, seed=0, epoch=0)
    assert sorted(one for batch in batches for one in batch) == list(range(10))


def test_drawing_without_care_for_scenes_repeats_them_about_as_often_as_chance_says():
    scenes = [f"room{number % 464}" for number in range(464 * 20)]  # fusion-methods 4.1 P3: 464 scenes, batch 256: 42 %
    apart = epoch_batches(scenes, 256, seed=0, epoch=0, apart=True)
    drawn = epoch_batches(scenes, 256, seed=0, epoch=0, apart=False)
    assert repeated_scenes(scenes, apart) == 0
    assert abs(repeated_scenes(scenes, drawn) - (1 - (1 - 1 / 464) ** 255)) < 0.03


def test_epochs_and_seeds_give_other_orders_and_the_same_ones_give_the_same():
    assert epoch_batches(SCENES, 12, 0, 0) == epoch_batches(SCENES, 12, 0, 0)
    assert epoch_batches(SCENES, 12, 0, 0) != epoch_batches(SCENES, 12, 0, 1)
    assert epoch_batches(SCENES, 12, 0, 0) != epoch_batches(SCENES, 12, 1, 0)


def test_batches_from_any_step_on_are_those_of_a_run_from_the_start():
    whole = list(islice(batch_at(SCENES, 12, 7, 0), 13))
    for first in (1, 4, 5, 11):
        assert list(islice(batch_at(SCENES, 12, 7, first), 13 - first)) == whole[first:]


def test_a_batch_larger_than_the_data_is_all_of_it():
    assert [sorted(one) for one in islice(batch_at(SCENES, 100, 0, 0), 2)] == [list(range(60))] * 2


def test_a_smaller_share_of_the_pairs_is_part_of_a_larger_one():
    tenth, half, whole = (chosen_share(1000, share, 0) for share in (0.1, 0.5, 1.0))
    assert (len(tenth), len(half), whole) == (100, 500, list(range(1000)))
    assert set(tenth) < set(half)
    assert chosen_share(5, 0.01, 0) != []
