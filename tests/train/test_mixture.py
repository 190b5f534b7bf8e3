"""What stands in which row of which epoch: each dialogue as often as its weight says, and the same order every time."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from torch.utils.data import DataLoader, SequentialSampler

from sdvlm.train.config import DataSettings, TrainConfig, VarySettings
from sdvlm.train.example import Dialogue, Example
from sdvlm.train.mixture import Mixture, split_heldout
from sdvlm.types import DepthMap, SdvlmError


class Shelf:
    """A store in memory: examples with these numbers of dialogues."""

    def __init__(self, name, counts, keys=None):
        self.name, self.counts = name, np.array(counts, dtype=np.int64)
        spread = np.random.default_rng(len(name)).integers(0, 2**63 - 1, len(counts))
        self.keys = spread if keys is None else np.array(keys, dtype=np.int64)

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        asked = [Dialogue((("user", f"{index}/{at}"), ("assistant", "A"))) for at in range(self.counts[index])]
        depth = DepthMap(np.full((2, 2), 1.0 + index))
        return Example(f"{index}", self.name, tuple(asked), (np.zeros((2, 2, 3), np.uint8),), (depth,))

    def dialogue_counts(self):
        return self.counts

    def held_out_by(self):
        return self.keys

    def families(self, index):
        return ["general"] * int(self.counts[index])


COUNTS = (3, 1, 7, 2, 5, 4, 1, 9)


def config(*weights, **settings):
    data = tuple(DataSettings(path="x", weight=weight) for weight in weights or (1.0,))
    return TrainConfig(data=data, **({"dialogues": 3} | settings))


def mixture(*shelves, weights=None, seed=0, **settings):
    shelves = shelves or (Shelf("s", COUNTS),)
    return Mixture(shelves, config(*(weights or (1.0,) * len(shelves)), **settings), seed)


def drawn_in(one, *epochs):
    found = []
    for epoch in epochs:
        one.set_epoch(epoch)
        found += [one.drawn(position) for position in range(len(one))]
    return found


def asked(drawn):
    return Counter((row.store, row.index, number) for row in drawn for number in row.dialogues)


def all_of(store=0, counts=COUNTS, times=1):
    return Counter({(store, index, at): times for index, count in enumerate(counts) for at in range(count)})


@pytest.mark.parametrize("pack", [True, False])
def test_an_epoch_asks_every_dialogue_once_in_rows_of_the_size_asked_for(pack):
    one = mixture(pack=pack)
    rows = drawn_in(one, 0)
    assert asked(rows) == all_of()
    assert len(rows) == len(one) == (sum(-(-count // 3) for count in COUNTS) if pack else sum(COUNTS))
    assert max(len(row.dialogues) for row in rows) == (3 if pack else 1)
    assert min(len(row.dialogues) for row in rows) >= 1


def test_a_weight_of_two_asks_everything_twice_and_half_a_weight_another_half_each_epoch():
    assert asked(drawn_in(mixture(weights=(2.0,)), 0)) == all_of(times=2)
    half = mixture(Shelf("s", [2] * 10), weights=(0.5,))
    first, second = asked(drawn_in(half, 0)), asked(drawn_in(half, 1))
    assert len(half) == 5
    assert not first & second
    assert first + second == all_of(counts=[2] * 10)


@pytest.mark.parametrize("weight", [0.3, 1.7, 0.07])
def test_after_any_number_of_epochs_no_row_is_more_than_one_pass_ahead_of_another(weight):
    one = mixture(weights=(weight,), pack=False)
    for epochs in (1, 3, 10):
        times = asked(drawn_in(one, *range(epochs)))
        times.update(dict.fromkeys(all_of(), 0))
        assert max(times.values()) - min(times.values()) <= 1
        assert sum(times.values()) == epochs * len(one) == epochs * round(weight * sum(COUNTS))


def test_parts_are_mixed_by_their_weights():
    one = mixture(Shelf("a", [1] * 40), Shelf("bb", [1] * 40), weights=(1.0, 0.25))
    rows = drawn_in(one, 0)
    assert Counter(row.store for row in rows) == {0: 40, 1: 10}
    assert {row.store for row in rows[:15]} == {0, 1}


def test_epochs_differ_in_order_and_in_which_dialogues_stand_together():
    one = mixture()
    first, second = drawn_in(one, 0), drawn_in(one, 1)
    assert [row.index for row in first] != [row.index for row in second]
    assert {frozenset(row.dialogues) for row in first if row.index == 7} != {
        frozenset(row.dialogues) for row in second if row.index == 7
    }
    assert len(first) == len(second)


def test_an_epoch_is_a_function_of_seed_and_epoch_alone():
    want = drawn_in(mixture(seed=3), 5)
    fresh = mixture(seed=3)
    drawn_in(fresh, 0, 2, 9)
    assert drawn_in(fresh, 5) == want
    copy = pickle.loads(pickle.dumps(fresh))
    assert (copy.epoch, drawn_in(copy, 5)) == (5, want)
    assert drawn_in(mixture(seed=4), 5) != want


def test_positions_beyond_the_epoch_are_those_of_the_next():
    one = mixture()
    two = drawn_in(mixture(), 0, 1)
    assert [one.drawn(position) for position in range(2 * len(one))] == two
    assert [row.serial for row in two] == list(range(2 * len(one)))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_go_on_give_the_same_rows_as_this_process_in_every_epoch(workers):
    settings = VarySettings(depth_dropout=0.5)
    one, alone = mixture(vary=settings), mixture(vary=settings)
    loader = DataLoader(
        one, batch_size=None, sampler=SequentialSampler(one), num_workers=workers, persistent_workers=True
    )
    gone = 0
    for epoch in (0, 1):
        one.set_epoch(epoch)
        alone.set_epoch(epoch)
        for position, example in enumerate(loader):
            other = alone[position]
            assert (example.key, example.dialogues) == (other.key, other.dialogues)
            assert (example.depth[0] is None) == (other.depth[0] is None)
            gone += example.depth[0] is None
    assert 5 < gone < 2 * len(one) - 5


def test_a_row_holds_the_drawn_dialogues_of_its_example():
    one = mixture()
    for position in range(len(one)):
        drawn, example = one.drawn(position), one[position]
        assert [turns[0][1] for turns in (one.turns for one in example.dialogues)] == [
            f"{drawn.index}/{number}" for number in drawn.dialogues
        ]
        assert one.families(position) == ["general"] * len(drawn.dialogues)


def test_evaluation_asks_everything_once_in_order_unvaried_in_every_epoch():
    settings = config(2.0, vary=VarySettings(depth_dropout=1.0))
    one = Mixture((Shelf("s", COUNTS),), settings, seed=0, vary=False)
    rows = drawn_in(one, 0)
    assert drawn_in(one, 1) == rows
    assert asked(rows) == all_of()
    assert [row.index for row in rows] == sorted(row.index for row in rows)
    assert all(example.depth[0] is not None for example in one)


def test_an_empty_mixture_is_refused():
    with pytest.raises(SdvlmError, match="mixture is empty"):
        mixture(Shelf("s", []))
    with pytest.raises(SdvlmError, match="2 entries of data but 1 parts"):
        Mixture((Shelf("s", COUNTS),), config(1.0, 1.0), 0)


def kept_keys(parts):
    return {int(key) for part in parts for key in part.held_out_by()}


def test_held_out_pictures_are_in_no_part_trained_on_and_nothing_is_lost():
    shared = np.random.default_rng(0).integers(0, 2**63 - 1, 300)
    stores = [Shelf("a", [1] * 300, shared), Shelf("b", [2] * 300, shared[::-1]), Shelf("c", [1] * 400)]
    train, held_out = split_heldout(stores, 0.1, 1000)
    assert not kept_keys(train) & kept_keys(held_out)
    assert [len(one) + len(other) for one, other in zip(train, held_out, strict=True)] == [300, 300, 400]
    assert 0.07 < len(kept_keys(held_out)) / 700 < 0.13
    again = split_heldout(stores[::-1], 0.1, 1000)[1][::-1]
    assert [part.chosen.tolist() for part in again] == [part.chosen.tolist() for part in held_out]


@pytest.mark.parametrize(
    ("share", "most", "pictures", "kept"), [(0.5, 7, 100, 7), (0.001, 7, 5, 1), (0.9, 50, 1, 0), (0.0, 50, 9, 0)]
)
def test_held_out_pictures_are_at_most_so_many_and_one_at_least_if_there_are_two(share, most, pictures, kept):
    train, held_out = split_heldout([Shelf("s", [1] * pictures)], share, most)
    assert (len(train[0]), len(held_out[0])) == (pictures - kept, kept)


def test_a_part_gives_the_examples_of_its_store():
    store = Shelf("s", COUNTS)
    (train,), (held_out,) = split_heldout([store], 0.4, 100)
    for part in (train, held_out):
        for index in range(len(part)):
            assert part[index].key == store[int(part.chosen[index])].key
            assert part.dialogue_counts()[index] == len(part.families(index)) == len(part[index].dialogues)


def test_splitting_a_mixture_gives_one_to_train_on_and_one_to_evaluate_on():
    settings = config(1.0, heldout=0.3)
    train, held_out = Mixture.split_heldout([Shelf("s", [2] * 50)], settings, 0)
    assert not {one.key for one in train} & {one.key for one in held_out}
    assert len({one.key for one in held_out}) + len(train) == 50
    assert Mixture.split_heldout([Shelf("s", [2] * 50)], replace(settings, heldout=0.0), 0)[1] is None
