"""The end of an epoch is the same for any number of processes."""

from __future__ import annotations

import pytest
from torch.utils.data import BatchSampler, SequentialSampler

from sdvlm.train.even import Even

accelerate = pytest.importorskip("accelerate.data_loader")


class Numbered(list):
    """Rows that know their epoch."""

    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch


@pytest.mark.parametrize("rows", [1, 4, 10, 12, 13])
@pytest.mark.parametrize(("size", "processes"), [(1, 1), (2, 1), (2, 2), (1, 3), (2, 4)])
def test_every_row_is_in_one_process_once_and_all_have_as_many_batches(rows, size, processes):
    """As accelerate's own loaders share out what the data set holds."""
    even = Even(Numbered(range(rows)), size * processes)
    shares = []
    for process in range(processes):
        batches = BatchSampler(SequentialSampler(even), size, drop_last=False)
        mine = accelerate.BatchSamplerShard(batches, processes, process) if processes > 1 else batches
        shares.append([[even[index] for index in batch] for batch in mine])
    seen = [row for share in shares for batch in share for row in batch if row is not None]
    assert sorted(seen) == list(range(rows))
    assert len({len(share) for share in shares}) == 1
    steps = [{row for share in shares for row in share[number]} - {None} for number in range(len(shares[0]))]
    each = size * processes
    assert steps == [set(range(at, min(at + each, rows))) for at in range(0, rows, each)]


def test_epochs_are_those_of_the_rows():
    rows = Numbered(range(3))
    even = Even(rows, 2)
    even.set_epoch(5)
    assert rows.epoch == 5
    assert list(even) == [0, 1, 2, None]
    with pytest.raises(IndexError, match="there are 4 rows; got position 4"):
        even[4]
